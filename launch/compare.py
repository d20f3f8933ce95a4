"""Compare systems on one archive, with shared seeds.

  python launch/compare.py --config=launch/configs/ucm_frozen.py --workdir=runs/ucm --acquisitions=mgue,tcal

Systems are acquisitions of pairs, optionally with `+clustering`, and label baselines such as tcal;
`+SETTING=VALUE` makes a variant of any system. After a kill, the same command only runs the missing cells.
"""

import installed  # noqa: F401

import pathlib
import sys
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from anneal_jax.cli.apps import config_of, run_app

_CONFIG = config_flags.DEFINE_config_file("config", None, "Recipe, a file in launch/configs.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the comparison.", required=True)
_ACQUISITIONS = flags.DEFINE_list(
    "acquisitions", ["random", "bcgue+clustering", "mgue+clustering"], "Systems, spelled as above."
)
_SEEDS = flags.DEFINE_integer("seeds", 5, "Number of seeds.", lower_bound=1)
_FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "The first seed.", lower_bound=0)
_REFERENCE = flags.DEFINE_string("reference", None, "System to compare the others with; by default random.")
_WORKERS = flags.DEFINE_integer("workers", 0, "Cells run at a time; 0 chooses for you.", lower_bound=0)
_CPUS = flags.DEFINE_integer("cpus_each", 0, "CPUs bound to each worker; 0 binds none.", lower_bound=0)
_MERGE = flags.DEFINE_list("merge", [], "Files cells.jsonl of the same comparison from other machines.")
_TRACKER = flags.DEFINE_enum("tracker", None, ["tensorboard", "wandb"], "Where to log rounds too.")


def main(argv: Sequence[str]) -> None:
    """Run the grid; write its tables, its picture and its pages."""
    del argv
    config = config_of(_CONFIG.value)
    from anneal_jax.experiments.grid import FailedCell, run_grid
    from anneal_jax.experiments.grid_files import unpack_cells, write_cells
    from anneal_jax.experiments.systems import canonical_systems, reference_of
    from anneal_jax.reporting.comparison_report import FILES, report_comparison
    from anneal_jax.reporting.run_report import round_line
    from anneal_jax.reporting.tracking import require_tracker, track_cell
    from anneal_jax.training.start import choose_start, start_warnings

    require_tracker(_TRACKER.value)
    first, workdir = _FIRST_SEED.value, pathlib.Path(_WORKDIR.value)
    systems, cells, failed = canonical_systems(config, _ACQUISITIONS.value), [], set()
    reference, seeds = reference_of(_REFERENCE.value, systems), range(first, first + _SEEDS.value)
    print(*map("{}\n".format, start_warnings(choose_start(config))), sep="", end="", flush=True)
    unpack_cells(_MERGE.value, config, workdir)
    grid = run_grid(config, systems, seeds, workdir, num_workers=_WORKERS.value, cpus_each=_CPUS.value)
    for cell in grid:
        if isinstance(cell, FailedCell):
            failed.add(cell.system)
            print(f"error: {cell.system} seed {cell.seed}: {cell.reason}", file=sys.stderr, flush=True)
        else:
            cells.append(cell)
            track_cell(_TRACKER.value, config, cell, workdir)
            print(f"{cell.system} seed {cell.seed}, {round_line(cell.rows[-1])}", flush=True)
    if cells := [cell for name in systems if name not in failed for cell in cells if cell.system == name]:
        write_cells(cells, workdir)
        tables = report_comparison(config, cells, workdir, reference=reference)
        print(f"{tables}\nSee, in {workdir}: {', '.join(FILES)}.")
    sys.exit(f"error: left out, because cells failed: {', '.join(sorted(failed))}." if failed else 0)


if __name__ == "__main__":
    run_app(main)
