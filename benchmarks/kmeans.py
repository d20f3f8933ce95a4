"""Compare ways to find many small clusters, which diversity needs.

  python benchmarks/kmeans.py                           # candidates of a round on UC Merced
  python benchmarks/kmeans.py --size=4000,1000,256      # beyond 2,048 points the library splits them
  python benchmarks/kmeans.py --size=40000,10000,256 --quick=true

Points are pair representations of random embeddings in 50 groups. Each way prints one line: seconds, sum of
squared distances to the cluster means, and number of non-empty clusters. `--quick` leaves out the ways
whose time grows too fast for the largest size.
"""

import argparse
import functools
import json
import pathlib
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from anneal_jax.acquisition.diversity import pair_representation
from anneal_jax.acquisition.kmeans import cluster


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="1344,336,512", help="points,clusters,dimensions")
    parser.add_argument("--quick", default="false", choices=["true", "false"])
    parser.add_argument("--json", type=pathlib.Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    num_points, num_clusters, dim = map(int, arguments.size.split(","))
    points = representations(num_points, dim, seed=0)
    rows = []
    for way, run in ways(num_clusters, quick=arguments.quick == "true").items():
        rows.append({"way": way, **measure(points, run)})
        print("{way:32s} {seconds:8.2f} s  {inertia:12.2f}  {clusters:6d}".format(**rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"size": arguments.size, "rows": rows}, indent=2))


def representations(num_points, dim, seed):
    """Return float32[P, D], representations of pairs of images from 50 groups on the unit sphere."""
    rng = np.random.default_rng(seed)
    num_images = max(2, num_points // 8)
    groups = rng.normal(size=(50, dim // 2))[rng.integers(50, size=num_images)]
    images = groups + 0.5 * rng.normal(size=groups.shape)
    images = (images / np.linalg.norm(images, axis=1, keepdims=True)).astype(np.float32)
    return pair_representation(images, rng.integers(num_images, size=(num_points, 2)).astype(np.int32))


def ways(num_clusters, *, quick):
    """Return functions from points to cluster labels, by name."""
    scikit = functools.partial(KMeans, num_clusters, n_init=1, random_state=0)
    mini_batch = MiniBatchKMeans(num_clusters, n_init=1, random_state=0)
    lloyd = functools.partial(lloyd_in_jax, num_clusters=num_clusters)
    slow = {
        "sklearn k-means++, one thread": on_one_thread(scikit().fit_predict),
        "sklearn k-means++, all threads": scikit().fit_predict,
        "sklearn mini-batch": mini_batch.fit_predict,
    }
    return {
        "library": lambda points: cluster(points, num_clusters, seed=0),
        "sklearn random, one thread": on_one_thread(scikit(init="random").fit_predict),
        "jax Lloyd, with compilation": lloyd,
        "jax Lloyd, compiled": lloyd,
    } | ({} if quick else slow)


def on_one_thread(run):
    def limited(points):
        with threadpool_limits(1):
            return run(points)

    return limited


def lloyd_in_jax(points, num_clusters, num_steps=10, block_numbers=1 << 22):
    """Assign by blocks on the device; compute means on the host, which sums in a fixed order."""
    centres = points[np.random.default_rng(0).permutation(len(points))[:num_clusters]]
    on_device = jax.device_put(points)
    for _ in range(num_steps):
        labels = np.asarray(_nearest(on_device, centres, block=max(1, block_numbers // num_clusters)))
        order = np.argsort(labels, kind="stable")
        present, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
        sums = np.add.reduceat(points[order], starts, axis=0, dtype=np.float64)
        centres = centres.copy()
        centres[present] = sums / sizes[:, None]
    return labels


@functools.partial(jax.jit, static_argnames="block")
def _nearest(points, centres, *, block):
    half_norms = 0.5 * jnp.sum(jnp.square(centres), axis=1)
    nearest = lambda point: jnp.argmax(centres @ point - half_norms)  # noqa: E731
    return jax.lax.map(nearest, points, batch_size=block)


def measure(points, run):
    """Return seconds, inertia and non-empty clusters."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = run(points)
    seconds = time.perf_counter() - start
    clusters, places, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((clusters.size, points.shape[1]))
    np.add.at(sums, places, points)
    inertia = float(np.sum((points - (sums / sizes[:, None])[places]) ** 2))
    return {"seconds": seconds, "inertia": inertia, "clusters": int(clusters.size)}


if __name__ == "__main__":
    main()
