"""Compare systems on one archive, with shared seeds.

  python launch/compare.py --config=launch/configs/ucm_frozen.py --workdir=runs/ucm --seeds=5 \
      --acquisitions=random,mgue+clustering,tcal,random_labels,group_ask,class_labels

Systems are acquisitions of pairs, each with and without `+clustering`, and their rivals: all_pairs,
class_labels, group_ask, random_labels, srl_all, srl_groups, srl_labels, tcal, tcal_igarss and tcal_random.
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
    "Systems: an acquisition, ACQUISITION+clustering, or a rival such as group_ask.",
)
_SEEDS = flags.DEFINE_integer("seeds", 5, "How many seeds.", lower_bound=1)
_FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "The first of them.", lower_bound=0)
_REFERENCE = flags.DEFINE_string("reference", "random", "System that the others are compared to.")


def main(argv: Sequence[str]) -> None:
    """Run the grid; write its tables and its picture."""
    del argv
    config = config_of(_CONFIG.value)
    from anneal_jax.comparison import run_grid
    from anneal_jax.reporting.comparison_report import report_comparison

    seeds = range(_FIRST_SEED.value, _FIRST_SEED.value + _SEEDS.value)
    systems = list(dict.fromkeys(_ACQUISITIONS.value))
    cells = []
    for cell in run_grid(config, systems, seeds, _WORKDIR.value):
        cells.append(cell)
        last = cell.rows[-1]
        figure = f"mAP@5 {last['mean_average_precision_at_5']:.3f}"
        print(f"{cell.system} seed {cell.seed}: {figure} at {last['bits_spent']:,} bits", flush=True)
    title = f"{config.archive}, {_SEEDS.value} seeds"
    tables = report_comparison(cells, _WORKDIR.value, title=title, reference=_REFERENCE.value)
    print(f"{tables}\nSee {pathlib.Path(_WORKDIR.value) / 'compare.md'}, compare.csv and compare.png.")


if __name__ == "__main__":
    run_app(main)
