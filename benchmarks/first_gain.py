"""Print after how many answers search is better than by the features, from kept rows.

  python benchmarks/first_gain.py

For each seed it prints the smallest number of answers after which mAP@5 of unseen queries exceeds that of
the features by 0.05, interpolated between two budgets. The page shows such a number until it can measure
one (`static/progress.js`).
"""

import argparse
import json
import pathlib
from collections.abc import Sequence

import numpy as np

MEASURED = pathlib.Path(__file__).resolve().parents[1] / "docs" / "measured"
FILES = ("ucm_few_bits", "ucm_from_zero", "rsscn7_from_zero", "digits_from_zero")
GAIN = 0.05


def first_gain(answers: Sequence[float], gains: Sequence[float], least: float = GAIN) -> float:
    """Return the number of answers from which a curve from (0, 0) stays at or above a gain.

    >>> first_gain([40, 80, 120], [0.02, 0.06, 0.1])
    70.0
    >>> first_gain([40, 80], [0.1, 0.0])
    inf
    """
    places = np.array([0, *answers], np.float64), np.array([0, *gains], np.float64)
    below = np.flatnonzero(places[1] < least)[-1]
    if below == len(answers):
        return np.inf
    (x0, x1), (y0, y1) = (values[below : below + 2] for values in places)
    return float(x0 + (least - y0) / (y1 - y0) * (x1 - x0))


def main() -> None:
    """Print a line for each file and system that asks by belief."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gain", type=float, default=GAIN, help="how much above the features")
    least_gain = parser.parse_args().gain
    for name in FILES:
        found: dict[str, list[float]] = {}
        for line in (MEASURED / f"{name}.jsonl").read_text().splitlines():
            run = json.loads(line)
            if run["config"]["supervision"] == "belief_ask":
                key, before = "mean_average_precision_at_5", "mean_average_precision_at_5_features"
                gains = [row[key] - row[before] for row in run["rows"]]
                bits = [row["bits_spent"] for row in run["rows"]]
                found.setdefault(run["system"], []).append(first_gain(bits, gains, least_gain))
        for system, numbers in found.items():
            middle, (least, most) = np.median(numbers), (min(numbers), max(numbers))
            print(f"{name:16} {system:48} {middle:5.0f} answers ({least:.0f} to {most:.0f})")


if __name__ == "__main__":
    main()
