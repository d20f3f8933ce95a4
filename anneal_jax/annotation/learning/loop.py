"""When the background trains, what becomes of its models, and what the learning curve remembers."""

import asyncio
import json
import logging
import pathlib
from collections.abc import Awaitable, Callable
from typing import Any

from anneal_jax.annotation.learning.acceptance import judge_model
from anneal_jax.annotation.learning.forecast import MIN_GAIN, expected_gain, progress
from anneal_jax.annotation.learning.trainer import Result, TrainerProcess
from anneal_jax.annotation.questions.plan import QuestionPlan, make_plan
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.files import atomic

_log = logging.getLogger(__name__)

InWriterThread = Callable[..., Awaitable[Any]]
"""Runs a function in the thread that owns the session."""

UNTRIED_FROM = 100
"""Answers to questions from which on a model is used although nothing tells how good it is: from so many on
it found more for unseen queries than the features on every archive that was measured, though within the
archive up to 0.03 less precisely (docs/lab/label_efficiency.md). Marks on search results count for nothing
here: as many of them can leave whole kinds out (docs/lab/page.md)."""


class LearningLoop:
    """Starts jobs when they are due and judges and adopts their results; the session is never kept waiting.

    A model of few answers is on trial until there is evidence that it is no worse than what it replaces.

    Attributes:
      curve: one row for each model, and what audits said of it while it was in use.
    """

    def __init__(
        self, session: AnnotationSession, trainer: TrainerProcess, folder: pathlib.Path, *, seed: int
    ):
        """Go on with the curve in a folder, and with the model that was in use, if its answers all stand.

        Args:
          session: used through `InWriterThread` only; its plan is that of the features.
          trainer: runs the jobs.
          folder: keeps `curve.json`.
          seed: of the choice of questions.
        """
        self._session, self._trainer, self._seed = session, trainer, seed
        self._features = session.plan
        self._path = folder / "curve.json"
        self.curve: list[dict[str, Any]] = _read(self._path)
        self._on_trial: tuple[QuestionPlan, Result] | None = None
        self._tried_with = -1
        self.refusal = ""
        self._refused_in = 0  # the set that `refusal` speaks of
        if (kept := trainer.kept()) and self._is_current(kept):
            session.adopt(self._plan(kept))

    async def advance(self, in_writer_thread: InWriterThread) -> None:
        """Look once after the background; a failure is reported, and nothing else ends by it."""
        try:
            if result := await asyncio.to_thread(self._trainer.fetch):
                self._on_trial, self._tried_with = (
                    (await asyncio.to_thread(self._plan, result), result),
                    -1,
                )
            elif not self._trainer.is_busy:
                await in_writer_thread(self._start_if_due)
            if self._on_trial is not None:
                await self._try(in_writer_thread, *self._on_trial)
        except Exception as error:
            self._trainer.failure = f"{type(error).__name__}: {error}"
            _log.exception("the background could not go on")

    def to_json(self) -> dict[str, Any]:
        """Return what the page says of the background."""
        return {
            "is_training": self._trainer.is_busy,
            "training_failure": self._trainer.failure,
            "refusal": self.refusal if self._refused_in == self._session.set_id else "",
            "on_trial": self._on_trial[1].num_answers if self._on_trial else None,
            "expected_gain": expected_gain(self.curve, self._session.set_id),
            "least_gain": MIN_GAIN,
            "progress": progress(self.curve, self._session.set_id, self._session.plan.version)._asdict(),
        }

    def close(self) -> None:
        """End the job under way."""
        self._trainer.close()

    def _start_if_due(self) -> None:
        answer_ids, set_id = self._session.standing.trainable_ids(), self._session.set_id
        if self._trainer.is_due(answer_ids, set_id):
            self._trainer.start(self._session.trainable(), self._session.reserved(), answer_ids, set_id)

    def _is_current(self, result: Result) -> bool:
        """Tell whether what a model was trained on stands, under the present sentence."""
        return result.snapshot.stands(self._session.set_id, self._session.standing)

    def _plan(self, result: Result) -> QuestionPlan:
        chosen = [(first, second) for first, second in result.chosen.tolist()]
        return make_plan(
            result.embeddings,
            seed=self._seed,
            version=result.num_answers,
            chosen=chosen,
            project=result.project,
            by_belief=self._features.sources["pairs"],
            answer_ids=result.snapshot.answer_ids,
        )

    async def _try(self, in_writer_thread: InWriterThread, plan: QuestionPlan, result: Result) -> None:
        """Judge a new model by what is known now, and use it or not; without evidence it waits for some."""
        # Since it began there may be another sentence, or an answer taken back.
        if not await in_writer_thread(self._is_current, result):
            self._on_trial = None
            return
        if self._tried_with == len(self._session.standing):
            return
        self._tried_with = len(self._session.standing)
        others = {"the features": self._features, "the model in use": self._session.plan}
        if not self._session.plan.version:
            del others["the model in use"]
        plans = [plan, *others.values()]
        evidence = await in_writer_thread(self._session.evidence, result.snapshot.pairs, plans)
        verdict = await asyncio.to_thread(
            judge_model, evidence, [one.embeddings for one in plans], [*others]
        )
        num_asked = await in_writer_thread(self._session.standing.num_asked, result.snapshot.answer_ids)
        if verdict.is_measured or num_asked >= UNTRIED_FROM:
            self._on_trial = None
            await in_writer_thread(self._end_trial, plan, result, verdict.refusal)

    def _end_trial(self, plan: QuestionPlan, result: Result, refusal: str) -> None:
        if not self._is_current(result):  # not any more: it was judged beside the session
            return
        sentence = f"The model of {result.num_answers} answers is not used: {refusal}."
        self.refusal, self._refused_in = sentence if refusal else "", result.snapshot.set_id
        counters = self._session.counters("")
        names = ("num_answers", "num_known", "bits_spent", "minutes", "model_answers", "quality")
        row = {name: counters[name] for name in names}
        row |= {"set_id": result.snapshot.set_id, "trained_on": result.num_answers, "doubt": result.doubt}
        self.curve.append(row | {"refusal": self.refusal})
        atomic.write_text(self._path, json.dumps(self.curve) + "\n")
        if not refusal:
            self._session.adopt(plan)
            self._trainer.keep()


def _read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the curve so far; it can be lost without harm."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return rows if isinstance(rows, list) else []
    except (OSError, ValueError, RecursionError):
        return []
