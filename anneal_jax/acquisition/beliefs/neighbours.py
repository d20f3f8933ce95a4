"""The graph of nearest tiles along which answers spread to tiles that nobody was asked about."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.extmath import randomized_svd

from anneal_jax.acquisition.beliefs.medoids import cluster_medoids
from anneal_jax.files.progress import progress_bar
from anneal_jax.types import MIN_NORM, FloatArray, IntArray

NUM_NEIGHBOURS = 10
"""Neighbours of a tile, before edges are made mutual."""

SHARPNESS = 4.0
"""Power of the cosine that weighs an edge: a neighbour twice as alike counts sixteen times."""

NUM_CANDIDATES, NUM_DIRECTIONS = 100, 128
"""Nearest tiles that a learnt graph chooses from, and main directions that it is learnt in."""

_ROWS_AT_ONCE = 4_096
_FAINTEST = 1e-6  # of an edge: a tile whose neighbours are all at right angles keeps them


class NeighbourGraph(NamedTuple):
    """Nearest neighbours by cosine, as two matrices over the same edges.

    Attributes:
      features: float32[M, F], of unit length.
      walk: float32[M, M] sparse; row i holds the chances that a step from tile i leads to each neighbour.
      smooth: float32[M, M] sparse and symmetric: the same weights over the root of both degrees.
      medoids: int32[K], the tiles to ask about first, in this order.
      near: int32[M, C], the nearest tiles of each, from which a learnt graph chooses.
      cosines: float32[M, C], of each with these.
      directions: float32[M, D], the features in their main directions, from which a graph is learnt.
    """

    features: FloatArray
    walk: sparse.csr_array
    smooth: sparse.csr_array
    medoids: IntArray
    near: IntArray
    cosines: FloatArray
    directions: FloatArray


def neighbour_graph(
    features: FloatArray, *, num_neighbours: int = NUM_NEIGHBOURS, sharpness: float = SHARPNESS
) -> NeighbourGraph:
    """Join every tile to its nearest ones.

    An edge weighs max(0, cosine)^sharpness. It exists if either tile has the other among its nearest.

    Args:
      features: float32[M, F], centred, or better standardised.
      num_neighbours: number of neighbours of each tile; fewer if there are not enough tiles.
      sharpness: >= 0.

    Source: zhu2003semi, with the weights of edges of iscen2019label.

    >>> graph = neighbour_graph(np.array([[1, 0], [1, 0.1], [0, 1]], np.float32), num_neighbours=1)
    >>> graph.walk.toarray().round(2).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    num_tiles = len(features)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    units = (features / np.maximum(lengths, MIN_NORM)).astype(np.float32)
    places, cosines = np.zeros((num_tiles, 0), np.int32), np.zeros((num_tiles, 0), np.float32)
    if count := min(max(NUM_CANDIDATES, num_neighbours), num_tiles - 1):
        distances, places = _nearest(units, count)
        cosines = (1 - distances**2 / 2).astype(np.float32)
        is_bare = lengths < MIN_NORM
        cosines[is_bare | is_bare[places, 0]] = 0
    walk, smooth = _matrices(places[:, :num_neighbours], cosines[:, :num_neighbours], sharpness)
    centred = features - features.mean(axis=0)
    directions = _main_directions(centred)
    return NeighbourGraph(units, walk, smooth, cluster_medoids(units), places, cosines, directions)


def joined(
    graph: NeighbourGraph,
    cosines: FloatArray,
    *,
    num_neighbours: int = NUM_NEIGHBOURS,
    sharpness: float = SHARPNESS,
) -> NeighbourGraph:
    """Return the graph over the same tiles by other cosines, float32[M, C], of `graph.near`."""
    best = np.argsort(-cosines, axis=1, kind="stable")[:, :num_neighbours]
    places = np.take_along_axis(graph.near, best, axis=1)
    walk, smooth = _matrices(places, np.take_along_axis(cosines, best, axis=1), sharpness)
    return graph._replace(walk=walk, smooth=smooth)


def _matrices(
    places: IntArray, cosines: FloatArray, sharpness: float
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Return `walk` and `smooth` of the edges to the tiles int32[M, K] with cosines float32[M, K]."""
    num_tiles, count = places.shape
    rows, shape = np.repeat(np.arange(num_tiles), count), (num_tiles, num_tiles)
    edges = np.maximum(cosines.astype(np.float64), _FAINTEST) ** sharpness
    weights = sparse.csr_array((edges.ravel(), (rows, places.ravel())), shape=shape)
    weights = weights.maximum(weights.T)
    degrees = weights.sum(axis=1)
    degrees = np.where(degrees > 0, degrees, 1)  # a tile by itself stays by itself
    scale = sparse.diags_array(1 / np.sqrt(degrees))
    walk = sparse.csr_array(sparse.diags_array(1 / degrees) @ weights, dtype=np.float32)
    return walk, sparse.csr_array(scale @ weights @ scale, dtype=np.float32)


def _main_directions(centred: FloatArray) -> FloatArray:
    """Return float32[M, D], centred features in the directions in which they differ most."""
    count = min(NUM_DIRECTIONS, *centred.shape)
    left, lengths, _ = randomized_svd(centred, count, n_iter=4, random_state=0)
    return np.asarray(left * lengths, np.float32)


def _nearest(units: FloatArray, count: int) -> tuple[FloatArray, IntArray]:
    """Return the distances float32[M, count] and places int32[M, count] of the nearest other tiles of each.

    Unit vectors are in the same order by distance and by cosine.
    """
    search = NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(units)
    distances, places = np.empty((len(units), count), np.float32), np.empty((len(units), count), np.int32)
    with progress_bar(len(units), "neighbours", "tile") as bar:
        for start in range(0, len(units), _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(units)))
            near, found = search.kneighbors(units[rows])
            is_other = found != rows[:, None]
            is_other[is_other.all(axis=1), 0] = False  # a tile with more copies than are looked for
            distances[rows] = near[is_other].reshape(-1, count)
            places[rows] = found[is_other].reshape(-1, count)
            bar.update(len(rows))
    return distances, places
