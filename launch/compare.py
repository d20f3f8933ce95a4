"""Compare systems on one archive, with shared seeds.

  python launch/compare.py --config=launch/configs/ucm_frozen.py --workdir=runs/ucm \
      --acquisitions=random,bcgue+clustering,mgue+clustering,class_labels --seeds=5

Finished cells are never run again; the same command goes on after a kill.
"""

import pathlib
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from anneal_jax.cli import config_of, run_app

_CONFIG = config_flags.DEFINE_config_file("config", None, "Recipe, a file in launch/configs.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the comparison.", required=True)
_ACQUISITIONS = flags.DEFINE_list(
    "acquisitions",
    ["random", "bcgue+clustering", "mgue+clustering"],
    "Systems: an acquisition, ACQUISITION+clustering, or class_labels.",
)
_SEEDS = flags.DEFINE_integer("seeds", 5, "How many seeds.", lower_bound=1)
_FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "The first of them.", lower_bound=0)


def main(argv: Sequence[str]) -> None:
    """Run the grid and write its table."""
    del argv
    config = config_of(_CONFIG.value)
    from anneal_jax import atomic
    from anneal_jax.comparison import run_grid
    from anneal_jax.reporting.comparison_table import comparison_markdown

    seeds = range(_FIRST_SEED.value, _FIRST_SEED.value + _SEEDS.value)
    cells = []
    for cell in run_grid(config, _ACQUISITIONS.value, seeds, _WORKDIR.value):
        cells.append(cell)
        last = cell.rows[-1]["mean_average_precision_at_5"]
        print(f"{cell.system} seed {cell.seed}: mAP@5 {last:.3f}", flush=True)
    table = comparison_markdown(cells)
    path = pathlib.Path(_WORKDIR.value) / "compare.md"
    atomic.write_text(path, table)
    print(f"{table}\nSee {path}.")


if __name__ == "__main__":
    run_app(main)
