"""The second step of ANNEAL's selection: spread the questions over the most uncertain pairs."""

import warnings

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from anneal_jax.types import FloatArray, PairIndices


def pair_representation(embeddings: FloatArray, pair_indices: PairIndices) -> FloatArray:
    """Represent each pair by a vector that does not depend on its order.

    [g_i + g_j, |g_i - g_j|]: where the pair lies in the metric space, and how its two tiles differ. The
    papers do not say what they cluster; this is the project's choice.

    Args:
      embeddings: float32[N, D].
      pair_indices: int32[P, 2].

    Returns:
      float32[P, 2 D].
    """
    first, second = embeddings[pair_indices[:, 0]], embeddings[pair_indices[:, 1]]
    return np.concatenate([first + second, np.abs(first - second)], axis=1)


def select_diverse(representation: FloatArray, num_selected: int, *, seed: int) -> npt.NDArray[np.intp]:
    """Choose the most uncertain pair of each k-means cluster, topped up by the next most uncertain.

    Args:
      representation: float32[P, D], candidates sorted from the most to the least uncertain.
      num_selected: k, the number of clusters and of pairs to choose.
      seed: fixes the first centres. One thread, so that equal input gives equal output.

    Returns:
      int[min(k, P)], rows chosen, ascending, that is from the most uncertain on. Fewer non-empty
      clusters than k never mean fewer pairs.

    Source: hoxha2024anneal, clustering-based diversity.
    """
    num_candidates = len(representation)
    if num_selected >= num_candidates:
        return np.arange(num_candidates)
    clusters = _cluster(representation, num_selected, seed)
    # Candidates come sorted, so the first row of a cluster is its most uncertain one.
    _, heads = np.unique(clusters, return_index=True)
    others = np.setdiff1d(np.arange(num_candidates), heads, assume_unique=True)
    return np.sort(np.concatenate([heads, others[: num_selected - heads.size]]))


def _cluster(points: FloatArray, num_clusters: int, seed: int) -> npt.NDArray[np.int32]:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with threadpool_limits(1), warnings.catch_warnings():
        # Fewer distinct points than clusters: empty clusters, which the caller tops up.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(num_clusters, n_init=1, random_state=seed).fit_predict(points)
