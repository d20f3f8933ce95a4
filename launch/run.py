"""Run active learning on an archive, answered by its class labels.

  python launch/run.py --config=launch/configs/earth.py --workdir=runs/earth

Any setting of the recipe can be changed: --config.archive=folder:PATH --config.rounds=10. After a kill, the
same command continues. For a run on several processes, give the same command with
--distributed=HOST:PORT,COUNT,NUMBER in each. For a workdir of launch/annotate.py, give only --workdir: this
trains on its answers without asking questions.
"""

import installed  # noqa: F401

import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import config_flags

from anneal_jax.cli.apps import config_of, run_app
from anneal_jax.files.workdir import is_annotated

_CONFIG = config_flags.DEFINE_config_file("config", None, "Recipe, a file in launch/configs.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for all files of the run.", required=True)
_LABELS = flags.DEFINE_string("labels", None, "CSV (id,label) of class labels; overrides the recipe's.")
_DISTRIBUTED = flags.DEFINE_string("distributed", None, "HOST:PORT,COUNT,NUMBER of this process, or auto.")
_TRACKER = flags.DEFINE_enum("tracker", None, ["tensorboard", "wandb"], "Where to log rounds too.")


def main(argv: Sequence[str]) -> None:
    """Run, write the report, and print the result in one sentence."""
    del argv
    config, workdir, is_first = _CONFIG.value, pathlib.Path(_WORKDIR.value), True
    if _DISTRIBUTED.value is not None:
        from anneal_jax.experiments.distributed import join

        is_first = join(_DISTRIBUTED.value)
    say = print if is_first else lambda *_, **__: None
    if config is None and is_annotated(workdir):
        from anneal_jax.reporting.answers_report import train_and_report

        say(train_and_report(workdir))
        return
    checked = config_of(config, labels=_LABELS.value)
    # Imports jax, so not before now: --help and errors about settings are immediate.
    from anneal_jax.experiments.run import run_experiment
    from anneal_jax.reporting.run_report import report_run, round_line
    from anneal_jax.reporting.tracking import tracking
    from anneal_jax.training.start import settle_start, start_warnings

    checked = settle_start(checked, workdir)
    for warning in start_warnings(checked):
        say(warning, flush=True)
    tracker = _TRACKER.value if is_first else None
    with tracking(tracker, checked, workdir, name=_WORKDIR.value) as log_new_rounds:

        def on_round(row: dict[str, Any]) -> None:
            say(round_line(row), flush=True)
            log_new_rounds()

        outcome = run_experiment(checked, workdir, on_round=on_round)
    for note in outcome.notes:
        say(note)
    if is_first:
        print(report_run(checked, outcome, workdir))


if __name__ == "__main__":
    run_app(main)
