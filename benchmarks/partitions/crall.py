"""The graph identification algorithm (Crall, 2017), by his package `graphid`, made for people who err."""

import contextlib
from collections.abc import Iterator

import numpy as np

from anneal_jax.types import Answer
from partitions.interface import Archive, Ask, Found

NUM_NEIGHBOURS = 10
"""Tiles whose pairs with a tile may be asked about: its nearest."""


def graphid(archive: Archive, ask: Ask, budgets: list[int]) -> Iterator[Found]:
    """Ask about the pair of most cosine that its graph does not settle yet; ties of it are groups."""
    from graphid.core.annot_inference import AnnotInference
    from graphid.core.state import INCMP, NEGTV, POSTV

    decisions = {Answer.SIMILAR: POSTV, Answer.DISSIMILAR: NEGTV, Answer.UNSURE: INCMP}
    pairs, cosines = candidates(archive.features)
    graph = AnnotInference()
    graph.verbose = 0
    graph.add_aids(list(range(len(archive.features))))
    graph.ensure_edges_from(pairs)
    graph.prioritize(metric="prob_match", edges=pairs, scores=cosines)
    bits = 0
    for budget in budgets:
        with contextlib.suppress(StopIteration):
            while bits < budget:
                pair, _ = graph.pop()
                bits += 1
                graph.add_feedback(pair, decisions[ask(*pair)])
        groups = np.zeros(len(archive.features), int)
        for group, tiles in enumerate(graph.positive_components()):
            groups[list(tiles)] = group
        yield Found(bits, groups)


def candidates(features):
    """Return the pairs of near tiles, and (1 + cosine) / 2 of each."""
    cosines = features @ features.T
    nearest = np.argsort(-cosines, axis=1)[:, 1 : NUM_NEIGHBOURS + 1]
    pairs = sorted({(min(i, j), max(i, j)) for i, row in enumerate(nearest.tolist()) for j in row})
    return pairs, [float(1 + cosines[pair]) / 2 for pair in pairs]
