"""Schedules background training, accepts or rejects each new model, and records the learning curve."""

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
"""Number of answered questions after which a model is used without evidence of its quality.

On every archive that was measured, a model of this many answers beat the features on unseen queries, though
within the archive it was up to 0.03 less precise (docs/lab/label_efficiency.md). Marks on search results
are not counted: even this many of them can miss whole classes (docs/lab/page.md)."""


class LearningLoop:
    """Starts jobs when they are due, then judges and adopts their results; the session never waits for it.

    A model trained on few answers stays on trial until there is evidence that it is no worse than what it
    would replace.

    Attributes:
      curve: one row per model, with its audited precision while it was in use.
    """

    def __init__(
        self, session: AnnotationSession, trainer: TrainerProcess, folder: pathlib.Path, *, seed: int
    ):
        """Load the curve from a folder, and the model that was in use if all of its answers still stand.

        Args:
          session: only used through `InWriterThread`; its plan must be that of the features.
          trainer: runs the jobs.
          folder: holds `curve.json`.
          seed: seed for the choice of questions.
        """
        self._session, self._trainer, self._seed = session, trainer, seed
        self._features = session.plan
        self._path = folder / "curve.json"
        self.curve: list[dict[str, Any]] = _read(self._path)
        self._on_trial: tuple[QuestionPlan, Result] | None = None
        self._tried_with = -1
        self.refusal = ""
        self._refused_in = 0  # the set that `refusal` is about
        if (kept := trainer.kept()) and self._is_current(kept):
            session.adopt(self._plan(kept))

    async def advance(self, in_writer_thread: InWriterThread) -> None:
        """Check the background once; a failure of one part is reported and does not stop the others."""
        await self._reported(in_writer_thread, self._session.finish_beliefs)
        await self._reported(self._check, in_writer_thread)

    def to_json(self) -> dict[str, Any]:
        """Return the state of background training, as shown on the page."""
        curve, set_id = tuple(self.curve), self._session.set_id  # the writer thread may append meanwhile
        gain = expected_gain(curve, set_id)
        return {
            "is_training": self._trainer.is_busy,
            "training_failure": self._trainer.failure,
            "refusal": self.refusal if self._refused_in == set_id else "",
            "on_trial": self._on_trial[1].num_answers if self._on_trial else None,
            "gain": gain and gain._asdict(),
            "least_gain": MIN_GAIN,
            "progress": progress(curve, set_id, self._session.plan.version)._asdict(),
        }

    def close(self) -> None:
        """Stop the running job."""
        self._trainer.close()

    async def _reported(self, work: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        try:
            await work(*arguments)
        except Exception as error:
            self._trainer.failure = f"{type(error).__name__}: {error}"
            _log.exception("work in the background failed")

    async def _check(self, in_writer_thread: InWriterThread) -> None:
        """Fetch a result, or start a job if one is due; then judge the model on trial."""
        if result := await asyncio.to_thread(self._trainer.fetch):
            self._on_trial, self._tried_with = (await asyncio.to_thread(self._plan, result), result), -1
        elif not self._trainer.is_busy:
            await in_writer_thread(self._start_if_due)
        if self._on_trial is not None:
            await self._try(in_writer_thread, *self._on_trial)

    def _start_if_due(self) -> None:
        answer_ids, set_id = self._session.standing.trainable_ids(), self._session.set_id
        if self._trainer.is_due(answer_ids, set_id):
            self._trainer.start(self._session.trainable(), self._session.reserved(), answer_ids, set_id)

    def _is_current(self, result: Result) -> bool:
        """Return whether all answers that a model was trained on still count in the current set."""
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
        """Accept or reject a new model by the answers known now; without evidence it stays on trial."""
        # Since the job began, the set may have changed, or an answer may have been retracted.
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
        if not self._is_current(result):  # it may have changed: the session continued during the judgement
            return
        sentence = f"The model of {result.num_answers} answers is not used: {refusal}."
        self.refusal, self._refused_in = sentence if refusal else "", result.snapshot.set_id
        counters = self._session.counters("")
        names = ("num_answers", "num_known", "bits_spent", "minutes", "model_answers", "quality")
        row = {name: counters[name] for name in names}
        row |= {"set_id": result.snapshot.set_id, "trained_on": result.num_answers}
        self.curve.append(row | result.outlook._asdict() | {"refusal": self.refusal})
        atomic.write_text(self._path, json.dumps(self.curve) + "\n")
        if not refusal:
            self._session.adopt(plan)
            self._trainer.keep()


def _read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the curve so far; losing it does no harm."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return rows if isinstance(rows, list) else []
    except (OSError, ValueError, RecursionError):
        return []
