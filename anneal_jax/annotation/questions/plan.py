"""What chooses the questions at one time: embeddings, and the sources and audits made from them."""

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
"""By belief, pairs, choices and grids (the page's default) or pairs alone; the pairs in most doubt."""

SILENT = "none"
"""Of pages that only mark: no question is held for them."""

_RANDOM_PAIRS = 5_000  # behind the chosen ones, so that there is always something to ask


class QuestionPlan(NamedTuple):
    """Where the next questions come from: the features, or a model, and what is chosen by them.

    Attributes:
      embeddings: float32[N, D], unit norm.
      version: 0 for features alone, else the number of answers the model was trained on.
      sources: by mode; `glances` takes that of `pairs`.
      audits: the draws that measure it.
      project: from features to such embeddings, for tiles that the archive does not have; None: unknown.
      answer_ids: of the answers that the model was trained on; none for features alone.
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
    """Choose questions by embeddings: `chosen` ones first, then the cold start, then any.

    Args:
      embeddings: float32[N, D], unit norm; centred features before there is a model.
      seed: of the draws.
      version: number of answers that the model was trained on.
      chosen: the model's most uncertain pairs, the most uncertain first.
      project: see `QuestionPlan`.
      by_belief: the source of the modes `glances` and `pairs`; None: that of the mode `mgue`.
      answer_ids: see `QuestionPlan`.
    """
    rng = np.random.default_rng([seed, 0xA5C])
    rest = draw_random_pairs(rng, len(embeddings), _RANDOM_PAIRS, known=np.empty(0, np.int64))

    @functools.cache  # of large archives it takes a while, and only one mode ever asks for it
    def behind() -> list[Pair]:
        first = cold_start_pairs(embeddings, seed=seed)
        return [(one, other) for one, other in [*first.tolist(), *rest.tolist()]]

    doubtful = ListedPairs(chosen, behind)
    sources = {"pairs": by_belief or doubtful, "mgue": doubtful}
    return QuestionPlan(
        embeddings, version, sources, draw_audits(embeddings, seed=seed), project, answer_ids
    )
