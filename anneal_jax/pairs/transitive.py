"""Free pairs: what two answers that share an image imply about the other two images."""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from anneal_jax.pairs.canonical import PairKeys, contains, pair_keys, pairs_of_keys
from anneal_jax.types import PairIndices, PairLabels


class DerivedPairs(NamedTuple):
    """Pairs that answers imply.

    Attributes:
      pair_indices: int32[P, 2], canonical, sorted, none of them answered.
      pair_labels: int8[P], 1 similar, 0 dissimilar.
      num_contradictory: number of pairs left out because answers imply both labels for them, plus answered
        pairs that other answers contradict.
    """

    pair_indices: PairIndices
    pair_labels: PairLabels
    num_contradictory: int


def expand_one_step(pair_indices: PairIndices, pair_labels: PairLabels, num_images: int) -> DerivedPairs:
    """Derive pairs from answered pairs that share one image, in one step, never from derived pairs.

    similar(a, x) and similar(x, b) imply similar(a, b); similar(a, x) and dissimilar(x, b) imply
    dissimilar(a, b). With S and D the symmetric 0/1 matrices of similar and dissimilar answers, the
    implied pairs are the non-zeros of S S and of S D + D S. The memory needed is that of these sparse
    products.

    Args:
      pair_indices: int32[P, 2], the answered pairs, canonical, each once.
      pair_labels: int8[P], their answers.
      num_images: N, above every index.

    Returns:
      The derived pairs without the answered ones.

    Source: henkel2023anneal, section 2.3 ("transitive training set expansion") and Fig. 2.
    """
    similar = _adjacency(pair_indices[pair_labels == 1], num_images)
    dissimilar = _adjacency(pair_indices[pair_labels == 0], num_images)
    positive = _upper_keys(similar @ similar, num_images)
    mixed = similar @ dissimilar
    negative = _upper_keys(mixed + mixed.T, num_images)

    both = np.intersect1d(positive, negative, assume_unique=True)
    answered_similar = np.sort(pair_keys(pair_indices[pair_labels == 1], num_images))
    answered_dissimilar = np.sort(pair_keys(pair_indices[pair_labels == 0], num_images))
    refuted = np.union1d(
        np.intersect1d(positive, answered_dissimilar, assume_unique=True),
        np.intersect1d(negative, answered_similar, assume_unique=True),
    )
    keys = np.concatenate([positive, negative])
    labels = np.repeat(np.array([1, 0], np.int8), [positive.size, negative.size])
    answered = np.sort(pair_keys(pair_indices, num_images))
    kept = ~(contains(both, keys) | contains(answered, keys))
    order = np.argsort(keys[kept])
    return DerivedPairs(
        pairs_of_keys(keys[kept][order], num_images),
        labels[kept][order],
        int(np.union1d(both, refuted).size),
    )


def _adjacency(pairs: PairIndices, num_images: int) -> sparse.csr_array:
    rows = np.concatenate([pairs[:, 0], pairs[:, 1]])
    columns = np.concatenate([pairs[:, 1], pairs[:, 0]])
    ones = np.ones(rows.size, np.int32)
    return sparse.csr_array((ones, (rows, columns)), shape=(num_images, num_images))


def _upper_keys(matrix: Any, num_images: int) -> PairKeys:
    """Return the sorted keys of the non-zeros of a sparse matrix above its diagonal."""
    upper = sparse.triu(matrix, k=1, format="coo")
    return np.sort(upper.row.astype(np.int64) * num_images + upper.col)
