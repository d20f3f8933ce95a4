"""Decides whether a new model may be used: it must be no worse than the features and the model in use.

The evidence is not class labels but answers that no model was trained on: audits, and answers given since
the training. The origin of a pair matters. An audit shows two tiles that some model ranked as neighbours,
so their cosine is large under that model; if audits were mixed with questions, they would always favour the
older of two models. Cosines are therefore compared only on pairs of one origin, and never on audits.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.annotation.types import AnsweredPairs, Evidence
from anneal_jax.types import FloatArray, PairIndices

MIN_COMPARED = 20
"""Minimum number of audits or answered pairs for a comparison of two models."""

MIN_OF_EACH = 4
"""Minimum number of similar pairs, and of dissimilar pairs, among the answered ones."""


class Verdict(NamedTuple):
    """What the evidence says about a new model.

    Attributes:
      is_measured: whether there is enough evidence.
      refusal: why the model may not be used; empty if it may.
    """

    is_measured: bool
    refusal: str


def judge_model(evidence: Evidence, embeddings: Sequence[FloatArray], names: Sequence[str]) -> Verdict:
    """Compare a new model with other models.

    If 20 audits of the same tiles and ranks are known for both models, audits decide. Otherwise the models
    are compared by how well cosines separate the answered pairs: the probability that a similar pair is
    nearer than a dissimilar one. The new model is worse if the difference exceeds its standard error.

    Args:
      evidence: audits of the new model first, then of the others.
      embeddings: float32[N, D], unit norm, in the same order.
      names: names of the other models, as shown to a person.

    Source: delong1988comparing for the standard error of answered pairs.
    """
    is_measured = False
    for place, name in enumerate(names, start=1):
        compared = _by_audits(evidence.audits[0], evidence.audits[place], name)
        for pairs in evidence.answered:
            compared = compared or _by_pairs(pairs, embeddings[0], embeddings[place], name)
        if compared is None:
            continue
        is_measured = True
        if compared.refusal:
            return compared
    return Verdict(is_measured, "")


def _by_audits(new: Sequence[int | None], old: Sequence[int | None], name: str) -> Verdict | None:
    both = [(one, other) for one, other in zip(new, old, strict=True) if one in (0, 1) and other in (0, 1)]
    if len(both) < MIN_COMPARED:
        return None
    table = np.array(both, np.float64)
    difference = table[:, 0] - table[:, 1]
    error = float(difference.std(ddof=1)) / math.sqrt(len(both))
    reason = f"of {len(both)} audited neighbours"
    return _verdict(
        table.mean(axis=0), float(difference.mean()), error, f"{reason}, fewer are similar", name
    )


def _by_pairs(pairs: AnsweredPairs, new: FloatArray, old: FloatArray, name: str) -> Verdict | None:
    is_similar = pairs.labels == 1
    if is_similar.size < MIN_COMPARED or min(is_similar.sum(), (~is_similar).sum()) < MIN_OF_EACH:
        return None
    wins = [_wins(embeddings, pairs.pair_indices, is_similar) for embeddings in (new, old)]
    shares = np.array([won.mean() for won in wins])
    gain = wins[0] - wins[1]
    by_row, by_column = gain.mean(axis=1), gain.mean(axis=0)
    error = math.sqrt(by_row.var(ddof=1) / by_row.size + by_column.var(ddof=1) / by_column.size)
    reason = (
        f"on {is_similar.size} answers that it was not trained on, it recognises similar pairs less well"
    )
    return _verdict(shares, float(gain.mean()), error, reason, name)


def _wins(
    embeddings: FloatArray, pairs: PairIndices, is_similar: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return 1 for each similar and dissimilar pair if the similar one is nearer, 0.5 for a tie, else 0."""
    first, second = embeddings[pairs.T].astype(np.float64)
    cosines = np.einsum("pd,pd->p", first, second)
    return 0.5 + 0.5 * np.sign(cosines[is_similar][:, None] - cosines[~is_similar][None])


def _verdict(
    shares: npt.NDArray[np.float64], difference: float, error: float, reason: str, name: str
) -> Verdict:
    if difference >= -max(error, 1e-9):
        return Verdict(True, "")
    return Verdict(True, f"{reason} than by {name} ({shares[0]:.2f} against {shares[1]:.2f})")
