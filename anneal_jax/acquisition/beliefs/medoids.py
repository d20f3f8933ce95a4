"""The tiles that a person is asked about first: one from the middle of each cluster of the archive.

While nothing is known, the tile about which most is open is an odd one as often as not. A tile in the
middle of a cluster speaks for the whole of it.

Source: ward1963hierarchical; to ask about the middle of clusters first is nguyen2004active.
"""

import math

import numpy as np
from sklearn.cluster import AgglomerativeClustering

from anneal_jax.types import FloatArray, IntArray

CLUSTERS_PER_ROOT = 1.5
"""Clusters, over the root of the number of tiles: 61 of 1,680."""

MAX_CLUSTERS = 100
"""Clusters at most: some 200 questions."""

MAX_CLUSTERED = 2_000
"""Tiles that are clustered; of more, so many at equal distances in the archive's order."""


def cluster_medoids(units: FloatArray) -> IntArray:
    """Return the middle tile of each cluster, that of the largest cluster first.

    Args:
      units: float32[M, F], M >= 1, features of unit length.

    Returns:
      int32[K], different places in [0, M). The middle is the tile nearest to its cluster's mean.

    >>> cluster_medoids(np.eye(3, dtype=np.float32)[[0, 1, 1, 2]]).tolist()
    [1, 0, 3]
    """
    num_tiles = len(units)
    sample = np.unique(np.linspace(0, num_tiles - 1, min(num_tiles, MAX_CLUSTERED)).astype(np.int32))
    count = min(num_tiles, MAX_CLUSTERS, round(CLUSTERS_PER_ROOT * math.sqrt(num_tiles)))
    if count < 2:
        return sample[:count]
    clusters = AgglomerativeClustering(count, linkage="ward").fit_predict(units[sample])
    members = [sample[clusters == cluster] for cluster in range(count)]
    members.sort(key=lambda tiles: (-len(tiles), tiles[0]))
    means = [units[tiles].mean(axis=0) for tiles in members]
    with np.errstate(invalid="ignore"):  # OpenBLAS may flag lanes beyond the few rows of a small cluster
        medoids = [
            tiles[np.argmax(units[tiles] @ mean)] for tiles, mean in zip(members, means, strict=True)
        ]
    return np.array(medoids, np.int32)
