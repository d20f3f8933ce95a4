"""k-means for many small clusters: thousands of centres, a handful of points each."""

import warnings

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from anneal_jax.types import FloatArray

_WHOLE_POINTS = 2048
_REGION_POINTS = 512
_MAX_REGIONS = 64
_REGION_STEPS = 20


def cluster(points: FloatArray, num_clusters: int, *, seed: int) -> npt.NDArray[np.intp]:
    """Assign each point to one of k clusters of small squared distance to their means.

    This is scikit-learn's k-means with k-means++, whose time grows with P k. So a coarse k-means first
    splits more than 2,048 points into regions of about 512, and each region gets clusters in proportion
    to its points. `benchmarks/kmeans.py` compares this with k-means on all points.

    Args:
      points: float32[P, D].
      num_clusters: k, 1 to P.
      seed: seed of the first centres. One thread is used, so the same input gives the same output.

    Returns:
      int[P] in [0, k). If there are fewer distinct points than clusters, some numbers do not occur.

    Source: arthur2007kmeanspp.
    """
    from sklearn.exceptions import ConvergenceWarning

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        return _cluster(np.ascontiguousarray(points, np.float32), num_clusters, seed % 2**32)


def _cluster(points: FloatArray, num_clusters: int, seed: int) -> npt.NDArray[np.intp]:
    from sklearn.cluster import KMeans

    num_points = len(points)
    if num_clusters <= 1:
        return np.zeros(num_points, np.intp)
    if num_clusters == num_points:
        return np.arange(num_points)
    if num_points <= _WHOLE_POINTS:
        return KMeans(num_clusters, random_state=seed).fit_predict(points)
    num_regions = min(-(-num_points // _REGION_POINTS), _MAX_REGIONS)
    regions = KMeans(num_regions, max_iter=_REGION_STEPS, random_state=seed).fit_predict(points)
    sizes = np.bincount(regions, minlength=num_regions)
    if sizes.max() == num_points:  # all points are equal
        return np.zeros(num_points, np.intp)
    return _cluster_regions(points, regions, sizes, num_clusters, seed)


def _cluster_regions(
    points: FloatArray,
    regions: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.intp],
    num_clusters: int,
    seed: int,
) -> npt.NDArray[np.intp]:
    # Rounding the running total gives exactly k, and no region more clusters than it has points.
    ends = np.cumsum(sizes) * num_clusters // len(points)
    labels = np.empty(len(points), np.intp)
    for region, (start, end) in enumerate(zip(np.append(0, ends), ends, strict=False)):
        rows = np.flatnonzero(regions == region)
        if rows.size:
            # A region without a cluster of its own joins the next one's first; the last always has one.
            labels[rows] = start + _cluster(points[rows], end - start, seed)
    return labels
