"""Print curves and paired differences at numbers of bits from the kept cells of a comparison.

  python benchmarks/paired.py docs/measured/ucm_frozen.jsonl --bits=671,1007 --rows=tcal,badge-tcal
  python benchmarks/paired.py docs/measured/ucm_frozen.jsonl --bits=671,1007 --targets=belief_ask,group_ask

Scores are mAP@5 over min(k, R), as mean and half of the 95% t interval over seeds. A-B is the difference of
two systems, paired by seed; A-features is the difference from the features alone. Between rounds a curve is
interpolated, after the last it is constant. --targets prints the bits until a curve reaches 95% and 99% of
the seed's own `class_labels`, as in compare.md. Nothing is trained.
"""

import argparse
import json
import pathlib

import numpy as np

from anneal_jax.evaluation.learning_curves import cost_to_reach, quality_at
from anneal_jax.reporting.comparison_curves import FIGURE, bits_of, figures_of, mean_interval


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cells", type=pathlib.Path, nargs="+", help="files of kept cells")
    parser.add_argument("--bits", required=True)
    parser.add_argument("--rows", default="")
    parser.add_argument("--targets", default="")
    arguments = parser.parse_args()
    bits = [float(value) for value in arguments.bits.split(",")]
    curves = curves_of(arguments.cells)
    if arguments.rows:
        print("| bits | " + " | ".join(f"{value:,.0f}" for value in bits) + " |")
        print("|---" * (len(bits) + 1) + "|")
        for name in arguments.rows.split(","):
            print(line(name, curves, bits))
    for name in filter(None, arguments.targets.split(",")):
        print(f"{name}: {targets(curves[name], curves['class_labels'])}")


def curves_of(paths):
    """Return for each system the rows of each seed."""
    curves = {}
    for path in paths:
        for text in path.read_text(encoding="utf-8").splitlines():
            cell = json.loads(text)
            curves.setdefault(cell["system"], {})[cell["seed"]] = cell["rows"]
    return curves


def line(name, curves, bits):
    """Write one row: a curve, or the difference of two."""
    first, minus, second = name, "", ""
    if name not in curves:
        first, minus, second = name.partition("-")
    seeds = sorted(set(curves[first]) & set(curves.get(second, curves[first])))
    values = np.array([read_off(curves[first][seed], bits) for seed in seeds])
    if second == "features":
        values -= np.array([[curves[first][seed][0][f"{FIGURE}_features"]] for seed in seeds])
    elif minus:
        values -= np.array([read_off(curves[second][seed], bits) for seed in seeds])
    sign = "+" if minus else ""
    title = f"{first} less {second}" if minus else first
    return f"| {title} ({len(seeds)}) | " + " | ".join(interval(column, sign) for column in values.T) + " |"


def read_off(rows, bits):
    """Return the quality at numbers of bits; NaN before the first round, within a bit or two."""
    spent, wanted = bits_of(rows), np.array(bits)
    begun = np.where(wanted < 0.99 * spent[0], wanted, np.maximum(wanted, spent[0]))
    return quality_at(spent, figures_of(rows), begun)


def targets(runs, bounds):
    """Write the bits that 95% and 99% of the bound cost."""
    texts = []
    for share in (0.95, 0.99):
        costs = [
            cost_to_reach(bits_of(rows), figures_of(rows), share * figures_of(bounds[seed])[-1])
            for seed, rows in sorted(runs.items())
            if seed in bounds
        ]
        there = [cost for cost in costs if np.isfinite(cost)]
        mean = interval(np.array(there), "", 0) if len(there) == len(costs) else "not by all"
        each = ", ".join(f"{cost:,.0f}" for cost in costs)
        texts.append(f"{share:.0%}: {mean} ({len(there)} of {len(costs)} seeds: {each})")
    return "; ".join(texts)


def interval(values, sign="", digits=3):
    """Write a mean and half of its 95% t interval."""
    half = np.nan
    if len(values) > 1 and np.isfinite(values).all():
        half = mean_interval(values).half_width
    return f"{np.mean(values):{sign},.{digits}f} ± {half:.{digits}f}"


if __name__ == "__main__":
    main()
