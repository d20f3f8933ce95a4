"""Which images to label next: the acquisitions of the baselines that ask for class labels."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import linalg, special

from anneal_jax.acquisition.diversity import select_diverse
from anneal_jax.acquisition.kmeans import cluster
from anneal_jax.types import FloatArray

CANDIDATE_FACTOR = 4
"""m / k: uncertain images per label, among which diversity chooses; as ANNEAL's h / k."""


class ImagePool(NamedTuple):
    """What the class classifier computes for the images without a label.

    Attributes:
      embeddings: float32[M, D], unit norm.
      logits: float32[M, C].
      seed: determines the draws of this round.
    """

    embeddings: FloatArray
    logits: FloatArray
    seed: int


ImageAcquisition = Callable[[ImagePool, int], npt.NDArray[np.intp]]
"""Chooses min(k, M) different rows of a pool for k."""


def choose_random(pool: ImagePool, num_images: int) -> npt.NDArray[np.intp]:
    """Draw images uniformly."""
    return np.random.default_rng(pool.seed).permutation(len(pool.logits))[:num_images]


def choose_uncertain_and_diverse(pool: ImagePool, num_images: int) -> npt.NDArray[np.intp]:
    """TCAL as the IGARSS paper ran it: uncertainty by margin, then diversity by k-means.

    It forms k clusters of the 4 k most uncertain images and takes the most uncertain image of each; the
    next most uncertain images make up for empty clusters.

    Source: henkel2023anneal, section 3; demir2015novel without its density criterion.
    """
    candidates = most_uncertain(pool.logits, CANDIDATE_FACTOR * num_images)
    return candidates[select_diverse(pool.embeddings[candidates], num_images, seed=pool.seed)]


def choose_uncertain_diverse_and_dense(pool: ImagePool, num_images: int) -> npt.NDArray[np.intp]:
    """TCAL in full: uncertainty by margin, diversity by kernel k-means, then density.

    It forms k clusters of the 4 k most uncertain images in the space of an RBF kernel (`rbf_kernel`), and
    takes from each the image with the smallest mean distance to its cluster; the next most uncertain
    images make up for empty clusters.

    Source: demir2015novel; the kernel's width is this project's choice.
    """
    candidates = most_uncertain(pool.logits, CANDIDATE_FACTOR * num_images)
    if num_images >= len(candidates):
        return candidates
    kernel = rbf_kernel(pool.embeddings[candidates])
    clusters = cluster(kernel_map(kernel), num_images, seed=pool.seed)
    heads = densest_of_clusters(kernel, clusters)
    others = np.setdiff1d(np.arange(len(candidates)), heads, assume_unique=True)
    return candidates[np.sort(np.concatenate([heads, others[: num_images - heads.size]]))]


IMAGE_ACQUISITIONS: Mapping[str, ImageAcquisition] = {
    "tcal": choose_uncertain_diverse_and_dense,
    "tcal_igarss": choose_uncertain_and_diverse,
    "tcal_random": choose_random,
}
"""Every way to choose images, by name."""


def class_margins(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Return float64[M], the highest probability minus the next one: small if the classifier is uncertain.

    Args:
      logits: float32[M, C], C >= 2.

    >>> class_margins(np.array([[0.0, 0.0, -9.0], [9.0, -9.0, 0.0]], np.float32)).round(3).tolist()
    [0.0, 1.0]
    """
    probabilities = special.softmax(logits.astype(np.float64), axis=1)
    highest = np.partition(probabilities, -2, axis=1)[:, -2:]
    return highest[:, 1] - highest[:, 0]


def most_uncertain(logits: FloatArray, num_images: int) -> npt.NDArray[np.intp]:
    """Return the rows of the smallest margins, smallest first; the earlier of equal ones first."""
    return np.argsort(class_margins(logits), kind="stable")[:num_images]


def rbf_kernel(points: FloatArray) -> npt.NDArray[np.float64]:
    """Return K = exp(-|x - y|^2 / (2 w^2)), float64[M, M], with w the median distance of two points.

    At any scale of the points, the median keeps K from being all ones or the identity, which are useless.

    Args:
      points: float32[M, D], M >= 2. If the median distance is 0, w is 1.

    >>> rbf_kernel(np.array([[0.0], [2.0]], np.float32)).round(4).tolist()
    [[1.0, 0.6065], [0.6065, 1.0]]
    """
    wide = points.astype(np.float64)
    norms = np.einsum("md,md->m", wide, wide)
    squared = np.maximum(norms[:, None] + norms[None] - 2 * wide @ wide.T, 0.0)
    median = np.median(squared[np.triu_indices(len(points), k=1)])
    return np.exp(-squared / (2 * (median or 1.0)))


def kernel_map(kernel: npt.NDArray[np.float64]) -> FloatArray:
    """Return points float32[M, M] whose dot products are the kernel: k-means on them is kernel k-means.

    Time is proportional to M^3, as for any eigendecomposition.

    Args:
      kernel: float64[M, M], symmetric, positive semi-definite.
    """
    values, vectors = linalg.eigh(kernel)
    return (vectors * np.sqrt(np.maximum(values, 0.0))).astype(np.float32)


def densest_of_clusters(
    kernel: npt.NDArray[np.float64], clusters: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Return the sample of each cluster with the smallest mean squared distance to it, ascending.

    |f(x) - f(y)|^2 = 2 - 2 K(x, y), since K(x, x) = 1: the smallest mean distance is the largest mean
    kernel value. Of equal samples the earlier is taken.

    Args:
      kernel: float64[M, M] with ones on its diagonal.
      clusters: int[M].
    """
    is_member = clusters[:, None] == clusters[None]
    closeness = np.sum(kernel * is_member, axis=1) / is_member.sum(axis=1)
    order = np.lexsort((np.arange(len(clusters)), -closeness, clusters))
    _, firsts = np.unique(clusters[order], return_index=True)
    return np.sort(order[firsts])
