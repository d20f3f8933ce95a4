"""When the background trains, what becomes of its models, and what the learning curve remembers."""

import asyncio
import json
import logging
import pathlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from anneal_jax.annotation.learning.acceptance import judge
from anneal_jax.annotation.learning.trainer import BackgroundTrainer, Result
from anneal_jax.annotation.questions.plan import Guide, make_guide
from anneal_jax.annotation.session import Desk
from anneal_jax.files import atomic

_log = logging.getLogger(__name__)

AtDesk = Callable[..., Awaitable[Any]]
"""Runs a function in the thread that owns the desk."""

UNTRIED_FROM = 100
"""Answers to questions from which on a model is used although nothing tells how good it is: from so many on
it found more for unseen queries than the features on every archive that was measured, though within the
archive up to 0.03 less precisely (docs/label_efficiency.md). Marks on search results count for nothing
here: as many of them can leave whole kinds out (docs/annotation.md)."""

STEP = 100
"""Answers that the forecast looks ahead."""

LEAST_GAIN = 0.01
"""Expected gain below which the page says that more answers will hardly help, a share of the tiles."""

_WRONG_PER_DOUBT = 0.5  # measured: docs/label_efficiency.md, "When to stop"


class Learning:
    """Starts jobs when they are due and judges and adopts their results; the desk is never kept waiting.

    A model of few answers is on trial until there is evidence that it is no worse than what it replaces.

    Attributes:
      curve: one row for each model, and what audits said of it while it was in use.
    """

    def __init__(self, desk: Desk, trainer: BackgroundTrainer, folder: pathlib.Path, *, seed: int):
        """Go on with the curve in a folder, and with the model that was in use, if its answers all stand.

        Args:
          desk: used through `AtDesk` only; its guide is that of the features.
          trainer: runs the jobs.
          folder: keeps `curve.json`.
          seed: of the choice of questions.
        """
        self._desk, self._trainer, self._seed = desk, trainer, seed
        self._features = desk.guide
        self._path = folder / "curve.json"
        self.curve: list[dict[str, Any]] = _read(self._path)
        self._on_trial: tuple[Guide, Result] | None = None
        self._tried_with = -1
        self.refusal = ""
        self._refused_in = 0  # the set that `refusal` speaks of
        if (kept := trainer.kept()) and self._is_current(kept):
            desk.adopt(self._guide(kept))

    async def advance(self, at_desk: AtDesk) -> None:
        """Look once after the background; a failure is told, and nothing else ends by it."""
        try:
            if result := await asyncio.to_thread(self._trainer.fetch):
                self._on_trial, self._tried_with = (
                    (await asyncio.to_thread(self._guide, result), result),
                    -1,
                )
            elif not self._trainer.is_busy:
                await at_desk(self._start_if_due)
            if self._on_trial is not None:
                await self._try(at_desk, *self._on_trial)
        except Exception as error:
            self._trainer.failure = f"{type(error).__name__}: {error}"
            _log.exception("the background could not go on")

    def told(self) -> dict[str, Any]:
        """Return what the page says of the background."""
        return {
            "is_training": self._trainer.is_busy,
            "training_failure": self._trainer.failure,
            "refusal": self.refusal if self._refused_in == self._desk.set_id else "",
            "on_trial": self._on_trial[1].num_answers if self._on_trial else None,
            "expected_gain": expected_gain(self.curve, self._desk.set_id),
            "least_gain": LEAST_GAIN,
        }

    def close(self) -> None:
        """End the job under way."""
        self._trainer.close()

    def _start_if_due(self) -> None:
        answer_ids, set_id = self._desk.ledger.trainable_ids(), self._desk.set_id
        if self._trainer.is_due(answer_ids, set_id):
            self._trainer.start(self._desk.trainable(), self._desk.reserved(), answer_ids, set_id)

    def _is_current(self, result: Result) -> bool:
        """Tell whether what a model was trained on stands, under the present sentence."""
        trained_on = result.snapshot
        return trained_on.set_id == self._desk.set_id and self._desk.ledger.stand(trained_on.answer_ids)

    def _guide(self, result: Result) -> Guide:
        chosen = [(first, second) for first, second in result.chosen.tolist()]
        return make_guide(
            result.embeddings,
            seed=self._seed,
            version=result.num_answers,
            chosen=chosen,
            project=result.project,
            by_belief=self._features.sources["pairs"],
            answer_ids=result.snapshot.answer_ids,
        )

    async def _try(self, at_desk: AtDesk, guide: Guide, result: Result) -> None:
        """Judge a new model by what is known now, and use it or not; without evidence it waits for some."""
        if not await at_desk(self._is_current, result):  # another sentence since, or an answer taken back
            self._on_trial = None
            return
        if self._tried_with == len(self._desk.ledger):
            return
        self._tried_with = len(self._desk.ledger)
        others = {"the features": self._features, "the model in use": self._desk.guide}
        if not self._desk.guide.version:
            del others["the model in use"]
        guides = [guide, *others.values()]
        evidence = await at_desk(self._desk.evidence, result.snapshot.pairs, guides)
        verdict = await asyncio.to_thread(judge, evidence, [one.embeddings for one in guides], [*others])
        num_asked = await at_desk(self._desk.ledger.num_asked, result.snapshot.answer_ids)
        if verdict.is_measured or num_asked >= UNTRIED_FROM:
            self._on_trial = None
            await at_desk(self._end_trial, guide, result, verdict.refusal)

    def _end_trial(self, guide: Guide, result: Result, refusal: str) -> None:
        if not self._is_current(result):  # not any more: it was judged beside the desk
            return
        told = f"The model of {result.num_answers} answers is not used: {refusal}."
        self.refusal, self._refused_in = told if refusal else "", result.snapshot.set_id
        counters = self._desk.counters("")
        names = ("num_answers", "num_known", "bits_spent", "minutes", "model_answers", "quality")
        row = {name: counters[name] for name in names}
        row |= {"set_id": result.snapshot.set_id, "trained_on": result.num_answers, "doubt": result.doubt}
        self.curve.append(row | {"refusal": self.refusal})
        atomic.write_text(self._path, json.dumps(self.curve) + "\n")
        if not refusal:
            self._desk.adopt(guide)
            self._trainer.keep()


def _read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the curve so far; it can be lost without harm."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return rows if isinstance(rows, list) else []
    except (OSError, ValueError, RecursionError):
        return []


def expected_gain(curve: Sequence[Mapping[str, Any]], set_id: int) -> float | None:
    """Estimate how much more of the archive is told rightly after a hundred more answers.

    The share of tiles that n answers leave in a wrong group is taken to be half of the mean doubt d about
    their groups, and to fall as 1 / n: so the next hundred bring 100 d / (2 n).

    Args:
      curve: a row for each model, in their order, with `set_id`, `trained_on` (answers) and `doubt`.
      set_id: of the present answers.

    Returns:
      A share of the tiles in [0, 1]; None before there is a model.

    >>> rows = [{"set_id": 1, "trained_on": 100 * n, "doubt": 0.4 / n} for n in (1, 2, 4)]
    >>> round(expected_gain(rows, 1), 4)
    0.0125
    """
    rows = [row for row in curve if row.get("set_id") == set_id and "doubt" in row]
    if not rows:
        return None
    last = rows[-1]
    return min(1.0, STEP * last["doubt"] * _WRONG_PER_DOUBT / max(STEP, last["trained_on"]))
