import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.acquisition.image_acquisitions import (
    IMAGE_ACQUISITIONS,
    ImagePool,
    class_margins,
    densest_of_clusters,
    kernel_map,
    most_uncertain,
    rbf_kernel,
)
from tests.reference import label_baselines as twin

every_acquisition = pytest.mark.parametrize("name", sorted(IMAGE_ACQUISITIONS))


def make_pool(num_images=40, num_distinct=None, seed=0):
    rng = np.random.default_rng(0)
    rows = np.arange(num_images) % (num_distinct or num_images)
    embeddings = rng.normal(size=(num_images, 5)).astype(np.float32)[rows]
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return ImagePool(embeddings, rng.normal(size=(num_images, 4)).astype(np.float32)[rows], seed)


@every_acquisition
@pytest.mark.parametrize("num_distinct", [None, 2])
@pytest.mark.parametrize("num_images", [1, 7, 39, 40, 100])
def test_min_of_k_and_pool_different_images_are_chosen(name, num_images, num_distinct):
    chosen = IMAGE_ACQUISITIONS[name](make_pool(num_distinct=num_distinct), num_images)
    assert len(set(chosen.tolist())) == len(chosen) == min(num_images, 40)
    assert chosen.min() >= 0 and chosen.max() < 40


@every_acquisition
def test_equal_pools_give_equal_choices(name):
    choose = IMAGE_ACQUISITIONS[name]
    np.testing.assert_array_equal(choose(make_pool(), 6), choose(make_pool(), 6))


@pytest.mark.parametrize("name", ["tcal", "tcal_igarss"])
def test_only_the_most_uncertain_are_candidates_and_they_are_spread(name):
    pool = make_pool(200)
    # Two far bundles among the 4 k most uncertain images, one tiny: both must be asked about.
    margins = np.argsort(class_margins(pool.logits), kind="stable")
    embeddings = pool.embeddings.copy()
    embeddings[margins[:8]] = [1, 0, 0, 0, 0]
    embeddings[margins[7]] = [-1, 0, 0, 0, 0]
    chosen = IMAGE_ACQUISITIONS[name](pool._replace(embeddings=embeddings), 2)
    assert set(chosen.tolist()) <= set(margins[:8].tolist())
    assert margins[7] in chosen


def test_random_images_differ_by_seed():
    first, second = (IMAGE_ACQUISITIONS["tcal_random"](make_pool(seed=seed), 10) for seed in (0, 1))
    assert first.tolist() != second.tolist()


@given(seed=st.integers(0, 999), num_classes=st.integers(2, 6))
def test_margins_match_their_twin(seed, num_classes):
    logits = (5 * np.random.default_rng(seed).normal(size=(9, num_classes))).astype(np.float32)
    margins = class_margins(logits)
    np.testing.assert_allclose(margins, [twin.class_margin(row) for row in logits], atol=1e-12)
    order = most_uncertain(logits, 4)
    np.testing.assert_array_equal(margins[order], np.sort(margins)[:4])


@given(seed=st.integers(0, 999))
def test_the_densest_of_each_cluster_matches_its_twin(seed):
    rng = np.random.default_rng(seed)
    points, clusters = rng.normal(size=(12, 3)).astype(np.float32), rng.integers(4, size=12)
    gaps = [np.sum((points[i] - points[j]) ** 2) for i in range(12) for j in range(i)]
    found = densest_of_clusters(rbf_kernel(points), clusters)
    assert found.tolist() == twin.densest(points, clusters.tolist(), np.sqrt(np.median(gaps)))


def test_dot_products_of_the_map_are_the_kernel():
    kernel = rbf_kernel(make_pool().embeddings)
    mapped = kernel_map(kernel)
    np.testing.assert_allclose(mapped @ mapped.T, kernel, atol=1e-5)


def test_equal_points_have_a_kernel_of_ones():
    np.testing.assert_array_equal(rbf_kernel(np.ones((4, 2), np.float32)), np.ones((4, 4)))
