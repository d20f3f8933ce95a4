"""The arrays with which the benchmark of rivals replaces slow loops give what the loops give."""

import importlib
import sys
from unittest import mock

import numpy as np
import pytest

from tests.conftest import ROOT

pytest.importorskip("skquery", reason="rivals are an extra: pip install 'anneal-jax[rivals]'")


@pytest.fixture(scope="module")
def rivals():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module("partitions.scikit_query")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def tiles():
    rng = np.random.default_rng(0)
    classes = rng.integers(4, size=60)
    return (rng.normal(size=(4, 8))[classes] + 0.8 * rng.normal(size=(60, 8))).astype(np.float32), classes


@pytest.mark.parametrize("num_pairs", [0, 30, 200])
def test_clusters_are_those_of_the_loop(rivals, tiles, num_pairs):
    from active_semi_clustering.semi_supervised.pairwise_constraints import PCKMeans
    from active_semi_clustering.semi_supervised.pairwise_constraints.constraints import (
        preprocess_constraints,
    )

    features, classes = tiles
    rng = np.random.default_rng(1)
    pairs = [tuple(rng.choice(60, 2, replace=False).tolist()) for _ in range(num_pairs)]
    must, cannot = (
        [pair for pair in pairs if (np.diff(classes[list(pair)])[0] == 0) == alike] for alike in (1, 0)
    )
    graphs = preprocess_constraints(must, cannot, 60)[:2]
    centres = features[rng.choice(60, 4, replace=False)]
    np.random.seed(2)  # noqa: NPY002
    expected = PCKMeans(4)._assign_clusters(features, centres, *graphs, 0.3)
    np.random.seed(2)  # noqa: NPY002
    order = np.arange(60)
    np.random.shuffle(order)  # noqa: NPY002
    found = rivals.nearest_clusters(features, centres, *graphs, 0.3, order=order)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("neighbourhoods", [[[3]], [[3, 5], [7]], [[0], [1, 2], [10], [20, 21]]])
def test_npu_chooses_the_tile_of_the_loop(rivals, tiles, neighbourhoods):
    import skquery.pairwise

    features, classes = tiles
    strategy = skquery.pairwise.NPU(neighborhoods=neighbourhoods)
    strategy.partition = classes
    np.random.seed(0)  # noqa: NPY002
    tile, chances = strategy._most_informative(features)
    np.random.seed(0)  # noqa: NPY002
    found, ours = rivals.most_informative(strategy, features, 50)
    assert found == tile
    np.testing.assert_allclose(ours, chances)


def test_the_kernel_is_that_of_minmax(rivals, tiles):
    import skquery.pairwise
    from scipy.spatial.distance import pdist
    from skquery.oracle import MLCLOracle

    features, classes = tiles
    kernels = []

    def recorded(data, metric):
        kernels.append(pdist(np.asarray(data), metric))
        return kernels[-1]

    with mock.patch(f"{skquery.pairwise.MinMax.__module__}.pdist", recorded):
        skquery.pairwise.MinMax().fit(features, MLCLOracle(40, classes), n_clusters=4)
    np.testing.assert_allclose(rivals.gaussian_kernel(features)(None, None), kernels[-1], rtol=1e-5)
