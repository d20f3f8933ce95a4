"""The second step of ANNEAL's selection: spread the questions over the most uncertain pairs."""

import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.kmeans import cluster
from anneal_jax.types import FloatArray, PairIndices


def pair_representation(embeddings: FloatArray, pair_indices: PairIndices) -> FloatArray:
    """Represent each pair by a vector that does not depend on its order.

    [g_i + g_j, |g_i - g_j|]: the place of the pair in the metric space, and the difference of its tiles.
    The papers do not say what they cluster; this is the project's choice.

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
      seed: seed of the first centres; the same input gives the same output.

    Returns:
      int[min(k, P)], the rows chosen, ascending: the most uncertain first. If fewer than k clusters have
      a pair, other pairs make up the number.

    Source: hoxha2024anneal, clustering-based diversity.
    """
    num_candidates = len(representation)
    if not 0 < num_selected < num_candidates:
        return np.arange(min(num_selected, num_candidates))
    clusters = cluster(representation, num_selected, seed=seed)
    # Candidates come sorted, so the first row of a cluster is its most uncertain one.
    _, heads = np.unique(clusters, return_index=True)
    others = np.setdiff1d(np.arange(num_candidates), heads, assume_unique=True)
    return np.sort(np.concatenate([heads, others[: num_selected - heads.size]]))
