"""COBRAS (Van Craenendonck et al., 2018), by the package `cobras-ts` of its authors."""

from collections.abc import Iterator
from unittest import mock

import numpy as np

from anneal_jax.types import Answer
from partitions.interface import Archive, Ask, Found


def cobras(archive: Archive, ask: Ask, budgets: list[int]) -> Iterator[Found]:
    """Ask as COBRAS does, and yield the last of its clusterings that was whole."""
    import cobras_ts.cobras_kmeans

    asker = mock.Mock(query_points=lambda first, second: ask(first, second) == Answer.SIMILAR)
    method = cobras_ts.cobras_kmeans.COBRAS_kmeans(archive.features, asker, budgets[-1])
    with mock.patch.object(np, "int", int, create=True):
        _, labellings, *_ = method.cluster()
    for budget in budgets:
        bits = min(budget, len(labellings))
        yield Found(bits, np.array(labellings[bits - 1]))
