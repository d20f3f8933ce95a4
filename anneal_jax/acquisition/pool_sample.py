"""A uniform sample of the pool as points, for strategies that compare a pair with all others.

The sample has some thousands of pairs, or four times as many as will be chosen if that is more.
"""

import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.diversity import pair_representation
from anneal_jax.pairs.canonical import PairKeys
from anneal_jax.pairs.drawing import draw_random_pairs
from anneal_jax.types import FloatArray, PairIndices

_SAMPLED_PAIRS = 4096
_BLOCK_ROWS = 512

Points = npt.NDArray[np.float64]


def sample_pool(
    num_images: int, known: PairKeys, num_pairs: int, *, seed: int, least: int | None = None
) -> PairIndices:
    """Draw the pairs to choose from, in an order that breaks ties.

    Args:
      num_images: N.
      known: int64[M], sorted keys of the pairs that must not be drawn.
      num_pairs: k, number of pairs to choose.
      seed: seed of the draw.
      least: minimum number of pairs to draw, if the pool has as many; some thousands by default.
    """
    wanted = max(_SAMPLED_PAIRS if least is None else least, 4 * num_pairs)
    return draw_random_pairs(np.random.default_rng(seed), num_images, wanted, known=known)


def wide_representation(embeddings: FloatArray, pairs: PairIndices) -> Points:
    """Return `pair_representation` in float64[P, 2 D]."""
    return pair_representation(embeddings, pairs).astype(np.float64)


def row_blocks(points: Points) -> list[Points]:
    """Split points into blocks whose distances to all centres fit into memory; at least one block."""
    return np.array_split(points, max(1, -(-len(points) // _BLOCK_ROWS)))


def pairwise_squared_distances(points: Points, centres: Points) -> Points:
    """Return |x - c|^2, float64[P, C]."""
    norms, centre_norms = (np.einsum("pd,pd->p", vectors, vectors) for vectors in (points, centres))
    return np.maximum(norms[:, None] + centre_norms[None] - 2 * points @ centres.T, 0.0)
