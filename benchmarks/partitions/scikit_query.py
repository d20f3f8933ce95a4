"""NPU, MinMax and AIPC of the package `scikit-query`, with the PCKMeans that it builds on.

They and PCKMeans draw from NumPy's global state, so it is that state which is seeded.
"""

import contextlib
from collections.abc import Iterator
from unittest import mock

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.ensemble import RandomForestClassifier

from anneal_jax.types import Answer
from partitions.interface import Archive, Ask, Found

NPU_REFIT = 25
"""Answers after which NPU's clustering is fitted again."""


class QueryOracle:
    """Answers scikit-query's strategies, and keeps the constraints.

    Attributes:
      budget: answers that it gives, then it raises what ends a strategy.
      queries: answers given.
      constraints: (first, second, is_similar) of each that was sure.
      bits: the number of the answer that each of them was.
    """

    def __init__(self, ask: Ask, budget: int):
        self._ask, self.budget, self.queries = ask, budget, 0
        self.constraints, self.bits = [], []

    def query(self, first: int, second: int) -> bool:
        """Answer whether two tiles are alike, and raise if that is not sure, or nothing is left."""
        from skquery.exceptions import EmptyBudgetError, NoAnswerError

        if self.queries == self.budget:
            raise EmptyBudgetError
        self.queries += 1
        answer = self._ask(int(first), int(second))
        if answer == Answer.UNSURE:
            raise NoAnswerError
        self.constraints.append((int(first), int(second), answer == Answer.SIMILAR))
        self.bits.append(self.queries)
        return answer == Answer.SIMILAR


def clustered(archive, must, cannot, tries=20):
    """Return the groups that PCKMeans finds; it starts again if one of its clusters is empty."""
    from active_semi_clustering.exceptions import EmptyClustersException
    from active_semi_clustering.semi_supervised.pairwise_constraints import PCKMeans

    class VectorisedPCKMeans(PCKMeans):
        def _assign_clusters(self, X, cluster_centers, ml_graph, cl_graph, w):  # noqa: N803, as there
            order = np.random.permutation(len(X))  # noqa: NPY002
            labels = nearest_clusters(X, cluster_centers, ml_graph, cl_graph, w, order=order)
            if len(np.unique(labels)) < self.n_clusters:
                raise EmptyClustersException
            return labels

    for _ in range(tries - 1):
        with contextlib.suppress(EmptyClustersException):
            return VectorisedPCKMeans(archive.num_classes).fit(archive.features, None, must, cannot).labels_
    return VectorisedPCKMeans(archive.num_classes).fit(archive.features, None, must, cannot).labels_


def nearest_clusters(features, centres, alike, unlike, weight, *, order):
    """Return what `PCKMeans._assign_clusters` does, without its loop over tiles without constraints."""
    costs = np.square(features).sum(1)[:, None] + np.square(centres).sum(1) - 2 * features @ centres.T
    costs, labels = costs / 2, np.full(len(features), -1)
    for tile in order:
        if alike[tile] or unlike[tile]:
            agreeing, denying = (labels[list(others[tile])] for others in (alike, unlike))
            agreeing, denying = agreeing[agreeing >= 0], denying[denying >= 0]
            votes = np.bincount(denying, minlength=len(centres)) + len(agreeing)
            votes = votes - np.bincount(agreeing, minlength=len(centres))
            labels[tile] = np.argmin(costs[tile] + weight * votes)
    return np.where(labels < 0, np.argmin(costs, axis=1), labels)


def clustered_at(archive, oracle, budgets):
    """Yield what PCKMeans finds by the first answers of an oracle."""
    for budget in budgets:
        count = int(np.searchsorted(oracle.bits, budget, side="right"))
        known = oracle.constraints[:count]
        must, cannot = ([pair[:2] for pair in known if pair[2] == alike] for alike in (True, False))
        yield Found(min(budget, oracle.queries), clustered(archive, must, cannot))


def npu(archive: Archive, ask: Ask, budgets: list[int]) -> Iterator[Found]:
    """Ask as NPU does, about tiles uncertain to a forest that learns PCKMeans's clusters."""
    import skquery.pairwise

    class VectorisedNPU(skquery.pairwise.NPU):
        def _most_informative(self, X, n_trees=50):  # noqa: N803, as in the class
            return most_informative(self, archive.features, n_trees)

    oracle = QueryOracle(ask, budgets[-1])
    VectorisedNPU(cc_alg=Refitted(archive, oracle)).fit(archive.features, oracle)
    yield from clustered_at(archive, oracle, budgets)


class Refitted:
    """PCKMeans as NPU calls it, fitted again after `NPU_REFIT` answers."""

    def __init__(self, archive, oracle):
        self._archive, self._oracle, self._next = archive, oracle, 0
        self.labels_ = None

    def fit(self, features, ml, cl):
        """Fit to must-links and cannot-links, if enough answers came since the last time."""
        del features
        if self._oracle.queries >= self._next:
            self.labels_ = clustered(self._archive, ml, cl)
            self._next = self._oracle.queries + NPU_REFIT


def most_informative(strategy, features, num_trees):
    """Return what `NPU._most_informative` does, without its loops over pairs of tiles.

    Returns:
      (tile, chances): the tile of most uncertainty over expected questions, and its chance of each
      neighbourhood.
    """
    from skquery.exceptions import QueryNotFoundError

    members = [tile for tiles in strategy.neighborhoods for tile in tiles]
    is_open = ~np.isin(np.arange(len(features)), [*members, *strategy.unknown])
    if not is_open.any():
        raise QueryNotFoundError
    if len(strategy.neighborhoods) == 1:
        return np.random.choice(np.flatnonzero(is_open)), [1]  # noqa: NPY002
    forest = RandomForestClassifier(n_estimators=num_trees).fit(features, strategy.partition)
    leaves = forest.apply(features)
    chances = np.stack(
        [np.mean(leaves[:, None] == leaves[tiles], axis=(1, 2)) for tiles in strategy.neighborhoods], 1
    )
    chances[~chances.any(axis=1)] = 1
    chances /= chances.sum(axis=1, keepdims=True)
    entropy = -np.sum(chances * np.log2(chances, out=np.zeros_like(chances), where=chances > 0), axis=1)
    expected = -np.sort(-chances, axis=1) @ np.arange(1, chances.shape[1] + 1)
    tile = int(np.argmax(np.where(is_open, entropy / expected, 0)))
    return tile, chances[tile]


def minmax(archive: Archive, ask: Ask, budgets: list[int]) -> Iterator[Found]:
    """Ask as MinMax does: founders farthest first, then about the tiles least like those known."""
    import skquery.pairwise

    module, oracle = skquery.pairwise.MinMax.__module__, QueryOracle(ask, budgets[-1])
    with mock.patch(f"{module}.pdist", gaussian_kernel(archive.features)):
        skquery.pairwise.MinMax().fit(archive.features, oracle, n_clusters=archive.num_classes)
    yield from clustered_at(archive, oracle, budgets)


def gaussian_kernel(features):
    """Return what MinMax computes of the features again for each tile, pair by pair."""
    distances = pdist(features)
    kernel = np.exp(-np.square(distances) / (2 * np.percentile(distances, 20) ** 2))
    return lambda data, metric: kernel


def aipc(archive: Archive, ask: Ask, budgets: list[int]) -> Iterator[Found]:
    """Ask as AIPC does, about tiles that fuzzy clusters share; its choice depends on the budget."""
    import skquery.pairwise

    for budget in budgets:
        np.random.seed(archive.seed)  # noqa: NPY002
        oracle = QueryOracle(ask, budget)
        found = skquery.pairwise.AIPC().fit(archive.features, oracle, n_clusters=archive.num_classes)
        yield Found(oracle.queries, clustered(archive, found["ml"], found["cl"]))
