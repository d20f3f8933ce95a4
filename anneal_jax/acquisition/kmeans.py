"""k-means for many small clusters: thousands of centres, a handful of points each.

Lloyd's algorithm from a seeded draw of the points. The assignment is all the work, so it runs compiled,
in blocks of points that keep memory bounded. The means are taken on the host in float64: they cost
little, and there a sum has one order, whatever the device and its number of threads.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from anneal_jax.types import FloatArray

_BLOCK_NUMBERS = 1 << 22  # products held at once; 16 MiB
_HIGHEST = jax.lax.Precision.HIGHEST


def cluster(
    points: FloatArray, num_clusters: int, *, seed: int, max_steps: int = 25
) -> npt.NDArray[np.int32]:
    """Assign each point to one of k clusters of small squared distance to their means.

    Stops when no point changes its cluster. A cluster that is left empty moves to the point farthest
    from its own centre; with fewer distinct points than clusters some stay empty.

    Args:
      points: float32[P, D].
      num_clusters: k, 1 to P.
      seed: of the first centres, k points drawn without replacement.
      max_steps: assignments at most. Clusters of a few points settle in 10 to 20.

    Returns:
      int32[P] in [0, k); a point between two nearest centres goes to the first.
    """
    points = np.ascontiguousarray(points, np.float32)
    points = points - points.mean(axis=0, dtype=np.float64).astype(np.float32)[None]
    centres = points[np.random.default_rng(seed).permutation(len(points))[:num_clusters]]
    on_device = jax.device_put(points)
    block = max(1, _BLOCK_NUMBERS // num_clusters)
    labels = np.full(len(points), -1, np.int32)
    for _ in range(max_steps):
        nearest = _assign(on_device, centres, block=block)
        previous, labels = labels, np.asarray(nearest)
        if np.array_equal(previous, labels):
            break
        centres = _recentre(points, labels, centres)
    return labels


@functools.partial(jax.jit, static_argnames="block")
def _assign(points: jax.Array, centres: jax.Array, *, block: int) -> jax.Array:
    """Return int32[P], the nearest of the centres float32[k, D] for each point."""
    half_norms = 0.5 * jnp.sum(jnp.square(centres), axis=1)

    def nearest(point: jax.Array) -> jax.Array:
        # |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2)
        closeness = jnp.dot(centres, point, precision=_HIGHEST) - half_norms
        return jnp.argmax(closeness).astype(jnp.int32)

    return jax.lax.map(nearest, points, batch_size=block)


def _recentre(points: FloatArray, labels: npt.NDArray[np.int32], centres: FloatArray) -> FloatArray:
    """Move each centre to the mean of its points, and empty ones to the farthest points."""
    order = np.argsort(labels, kind="stable")
    present, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(points[order], starts, axis=0, dtype=np.float64)
    moved = centres.copy()
    moved[present] = sums / sizes[:, None]
    empty = np.setdiff1d(np.arange(len(centres)), present, assume_unique=True)
    if empty.size:
        distances = np.sum(np.square(points - centres[labels]), axis=1, dtype=np.float64)
        moved[empty] = points[np.argsort(-distances, kind="stable")[: empty.size]]
    return moved
