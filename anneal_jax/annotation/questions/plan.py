"""What questions are chosen from: embeddings, and the sources and audits derived from them."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from anneal_jax.annotation.questions.audits import AuditDraws, draw_audits
from anneal_jax.annotation.questions.cold_start import cold_start_pairs
from anneal_jax.annotation.questions.source import ListedPairs, QuestionSource
from anneal_jax.annotation.types import Pair
from anneal_jax.pairs.drawing import draw_random_pairs
from anneal_jax.training.projection import Projection
from anneal_jax.types import FloatArray

GLANCES = "glances"
MODES = (GLANCES, "pairs", "mgue")
"""Pairs, choices and grids by belief (the default); pairs by belief alone; the most uncertain pairs."""

SILENT = "none"
"""Mode of pages that only mark results: no question is reserved for them."""

_RANDOM_PAIRS = 5_000  # after the chosen ones, so that there is always something to ask


class QuestionPlan(NamedTuple):
    """The features or the model in use, and the questions chosen from them.

    Attributes:
      embeddings: float32[N, D], unit norm.
      version: 0 for features alone, else the number of answers the model was trained on.
      sources: source of questions for each mode; `glances` uses that of `pairs`.
      audits: the draws that measure the embeddings.
      project: maps features to such embeddings, for tiles outside the archive; None if unknown.
      answer_ids: ids of the answers that the model was trained on; empty for features alone.
    """

    embeddings: FloatArray
    version: int
    sources: Mapping[str, QuestionSource]
    audits: AuditDraws
    project: Projection | None = None
    answer_ids: frozenset[int] = frozenset()


def make_plan(
    embeddings: FloatArray,
    *,
    seed: int,
    version: int = 0,
    chosen: Sequence[Pair] = (),
    project: Projection | None = None,
    by_belief: QuestionSource | None = None,
    answer_ids: frozenset[int] = frozenset(),
) -> QuestionPlan:
    """Choose questions from embeddings: `chosen` pairs first, then the cold start, then random pairs.

    Args:
      embeddings: float32[N, D], unit norm; centred features before there is a model.
      seed: seed of the draws.
      version: number of answers that the model was trained on.
      chosen: the model's most uncertain pairs, most uncertain first.
      project: see `QuestionPlan`.
      by_belief: the source for the modes `glances` and `pairs`; None uses that of the mode `mgue`.
      answer_ids: see `QuestionPlan`.
    """
    rng = np.random.default_rng([seed, 0xA5C])
    rest = draw_random_pairs(rng, len(embeddings), _RANDOM_PAIRS, known=np.empty(0, np.int64))

    @functools.cache  # slow for a large archive, and only one mode needs it
    def behind() -> list[Pair]:
        first = cold_start_pairs(embeddings, seed=seed)
        return [(one, other) for one, other in [*first.tolist(), *rest.tolist()]]

    doubtful = ListedPairs(chosen, behind)
    sources = {"pairs": by_belief or doubtful, "mgue": doubtful}
    return QuestionPlan(
        embeddings, version, sources, draw_audits(embeddings, seed=seed), project, answer_ids
    )
