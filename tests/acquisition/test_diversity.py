import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from anneal_jax.acquisition import kmeans
from anneal_jax.acquisition.diversity import pair_representation, select_diverse
from anneal_jax.acquisition.kmeans import cluster


def random_points(num_points, num_distinct=None, dim=4, seed=0):
    points = np.random.default_rng(seed).normal(size=(num_points, dim)).astype(np.float32)
    return points[np.arange(num_points) % (num_distinct or num_points)]


def inertia(points, labels):
    groups = [np.float64(points[labels == label]) for label in np.unique(labels)]
    return sum(np.sum((group - group.mean(axis=0)) ** 2) for group in groups)


@pytest.fixture
def small_regions(monkeypatch):
    """Let 60 points be many: split into regions of some 10, at most 4 at a time."""
    monkeypatch.setattr(kmeans, "_WHOLE_POINTS", 20)
    monkeypatch.setattr(kmeans, "_REGION_POINTS", 10)
    monkeypatch.setattr(kmeans, "_MAX_REGIONS", 4)


def test_a_pair_and_its_mirror_image_are_one_point():
    embeddings = random_points(9, dim=3)
    pairs = np.array([[0, 1], [4, 8], [2, 5]], np.int32)
    representation = pair_representation(embeddings, pairs)
    assert representation.shape == (3, 6)
    assert representation.dtype == np.float32
    np.testing.assert_array_equal(representation, pair_representation(embeddings, pairs[:, ::-1]))
    x, y = np.float64(embeddings[4]), np.float64(embeddings[8])
    np.testing.assert_allclose(representation[1], [*(x + y), *abs(x - y)], rtol=1e-5)
    assert len(np.unique(representation, axis=0)) == 3


def assert_chooses_exactly(points, num_selected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen = select_diverse(points, num_selected, seed=3)
    assert len(chosen) == min(num_selected, len(points))
    assert (np.diff(chosen) > 0).all()
    assert chosen.size == 0 or (chosen[0] >= 0 and chosen[-1] < len(points))


@pytest.mark.parametrize("num_distinct", [1, 3, 12])
def test_exactly_k_are_chosen_whatever_k(num_distinct):
    points = random_points(12, num_distinct)
    for num_selected in range(15):
        assert_chooses_exactly(points, num_selected)


@pytest.mark.parametrize("num_distinct", [1, 2, 7, 60])
def test_exactly_k_are_chosen_where_points_are_split_into_regions(small_regions, num_distinct):
    points = random_points(60, num_distinct)
    for num_selected in (1, 2, 3, 15, 40, 59, 60):
        assert_chooses_exactly(points, num_selected)


def test_no_candidates_give_no_choice():
    assert select_diverse(np.empty((0, 4), np.float32), 5, seed=0).size == 0


def test_the_most_uncertain_of_each_cluster_is_taken():
    centres = 100.0 * np.eye(5, dtype=np.float32)
    clusters = np.array([2, 2, 0, 2, 1, 0, 4, 1, 3, 4, 3])
    points = centres[clusters] + random_points(11, dim=5) / 10
    assert select_diverse(points, 5, seed=0).tolist() == [0, 2, 4, 6, 8]


def test_too_few_clusters_are_topped_up_by_the_most_uncertain():
    points = np.repeat(100.0 * np.eye(3, dtype=np.float32), 4, axis=0)
    assert select_diverse(points, 5, seed=0).tolist() == [0, 1, 2, 4, 8]


@given(st.integers(1, 30), st.integers(0, 50))
def test_each_cluster_is_represented_and_by_its_first_row(num_selected, seed):
    points = random_points(30, seed=seed)
    chosen = select_diverse(points, num_selected, seed=seed)
    labels = cluster(points, num_selected, seed=seed)
    heads = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)]
    assert set(heads) <= set(chosen.tolist())
    others = sorted(set(range(30)) - set(heads))
    assert sorted(heads + others[: num_selected - len(heads)]) == chosen.tolist()


def test_a_choice_is_fixed_by_its_seed_and_not_by_threads():
    points = random_points(300, dim=16)
    choices = []
    for num_threads in (1, 2, 4):
        with threadpool_limits(num_threads):
            choices.append(select_diverse(points, 60, seed=1).tolist())
    assert choices[0] == choices[1] == choices[2]
    assert choices[0] != select_diverse(points, 60, seed=2).tolist()


@pytest.mark.parametrize("num_clusters", [1, 2, 9, 59])
def test_regions_share_the_clusters_out(small_regions, num_clusters):
    labels = cluster(random_points(60), num_clusters, seed=0)
    assert labels.shape == (60,)
    assert labels.min() >= 0
    assert labels.max() < num_clusters
    assert len(np.unique(labels)) >= 0.6 * num_clusters


def test_any_integer_is_a_seed():
    points = random_points(60)
    one, same = (cluster(points, 9, seed=seed) for seed in (-1, 2**32 - 1))
    np.testing.assert_array_equal(one, same)


def test_equal_points_are_one_cluster(small_regions):
    assert np.unique(cluster(random_points(60, 1), 9, seed=0)).size == 1


def test_splitting_into_regions_costs_little_inertia(monkeypatch):
    points = random_points(600, dim=8)
    whole = inertia(points, cluster(points, 150, seed=0))
    monkeypatch.setattr(kmeans, "_WHOLE_POINTS", 200)
    monkeypatch.setattr(kmeans, "_REGION_POINTS", 100)
    split = inertia(points, cluster(points, 150, seed=0))
    assert split != whole
    assert split < 1.15 * whole
    by_chance = inertia(points, np.random.default_rng(0).permutation(600) % 150)
    assert split < 0.5 * by_chance
