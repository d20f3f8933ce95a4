"""Checks the papers' claims against a comparison: reproduced, not reproduced, or undecided.

A claim concerns a difference, paired by seed, and a threshold. It is reproduced if the whole interval is
above the threshold, not reproduced if it is below, and undecided if the interval contains the threshold.
Claims about every number of bits must be reproduced at each round; one round below refutes them. Intervals
are for single rounds, not simultaneous.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from anneal_jax.evaluation.intervals import PairedDifference, paired_difference_interval
from anneal_jax.experiments.grid import Cell
from anneal_jax.experiments.systems import base_of
from anneal_jax.reporting.comparison_curves import (
    Runs,
    Values,
    bits_of,
    common_costs,
    last_figures,
    read_at,
    runs_of,
)

CONFIDENCE = 0.95
"""Confidence of every interval."""

ABOVE = 0.0
"""One system is above another if their difference in mAP@5 is larger than this."""

GAIN = 0.30
"""What "up to 30%" must reach in its best round, in mAP@5."""

REACHED_WITHIN = 0.01
"""A level counts as reached from this much mAP@5 below it."""

ALL_PAIRS_SHARE, TCAL_SHARE = 0.34, 0.54
"""Of the bits of all class labels: where ANNEAL reaches its level, and TCAL does not yet reach its own."""

REPRODUCED, REFUTED, OPEN = "reproduced", "not reproduced", "cannot be told"

_ALL_LABELS = "class_labels"


class Verdict(NamedTuple):
    """What a comparison says about a claim.

    Attributes:
      verdict: `REPRODUCED`, `REFUTED` or `OPEN`.
      by: the differences that it is based on, or why there are none.
    """

    verdict: str
    by: str


class Claim(NamedTuple):
    """A sentence of a paper.

    Attributes:
      source: its source.
      sentence: its statement.
      systems: systems whose runs it needs.
      judge: returns a verdict from the runs of these systems.
    """

    source: str
    sentence: str
    systems: tuple[str, ...]
    judge: Callable[[Runs], Verdict]


def claims_markdown(cells: Sequence[Cell]) -> str:
    """Return the checklist of the papers' claims as Markdown.

    Args:
      cells: finished runs, the same seeds for every system.
    """
    runs = runs_of(cells)
    num_seeds = len(cells) // len(runs)
    rows, missing = [], []
    for claim in papers_claims(runs):
        absent = [name for name in claim.systems if name not in runs]
        if absent:
            missing.append(f"- {claim.sentence} ({claim.source}): needs {', '.join(absent)}")
            continue
        verdict = claim.judge(runs) if num_seeds > 1 else Verdict(OPEN, "an interval needs two seeds")
        rows.append(f"| {claim.sentence} | {claim.source} | **{verdict.verdict}** | {verdict.by} |")
    lines = [
        "# The papers' claims, on this archive",
        "",
        f"Differences in mAP@5 over min(k, R), paired by seed, with {CONFIDENCE:.0%} t intervals over "
        f"{num_seeds} seeds; each round has its own interval, without a correction for multiple rounds. "
        "A claim is reproduced if the whole interval is above its threshold, not reproduced if it "
        f"is below. Thresholds: above another system by more than {ABOVE:g}; a gain of {GAIN:.2f}, "
        "as we read 30 points; a "
        f"level is reached from {REACHED_WITHIN:g} below it. The papers fine-tuned a ResNet18; the figures "
        "here are this recipe's.",
        "",
    ]
    if rows:
        lines += ["| claim | paper | verdict | by how much |", "|---|---|---|---|", *rows, ""]
    if missing:
        lines += ["Not judged, because systems are missing:", "", *missing, ""]
    return "\n".join(lines)


def papers_claims(runs: Runs) -> list[Claim]:
    """Return every claim, about the variants of TCAL in the runs.

    The IGARSS paper makes its claims about BCGUE, and against TCAL by uncertainty and diversity alone. We
    also test them for MGUE and against the full form of TCAL, as the source column says.
    """
    claims = []
    for method, source in (("bcgue", "IGARSS"), ("mgue", "IGARSS, of BCGUE")):
        name, full = method.upper(), f"{method}+clustering"
        claims += [
            _every_round(source, f"{name} + clustering is above random pairs", full, "random", first=1),
            _best_round(
                source, f"{name} + clustering gains up to 30 points on random pairs", full, "random"
            ),
            _every_round(source, f"{name} with clustering is above {name} alone", full, method, first=1),
            _reaches_all_pairs(source, name, full),
            _every_round(source, f"{name} + clustering is above TCAL (IGARSS form)", full, "tcal_igarss"),
            _every_round("ours", f"{name} + clustering is above TCAL (full form)", full, "tcal"),
        ]
    tcal = "TCAL is above random class labels (same classifier)"
    claims.append(_every_round("TCAL", tcal, "tcal", "tcal_random", first=1))
    claims.append(_tcal_bound(runs))
    return claims


def _every_round(source: str, sentence: str, system: str, other: str, *, first: int = 0) -> Claim:
    """One system above another at every number of bits.

    Args:
      source: see `Claim`.
      sentence: see `Claim`.
      system: its rounds give the numbers of bits.
      other: its curve is evaluated there.
      first: first round: 1 if round 0 is the same for both by construction.
    """

    def judge(runs: Runs) -> Verdict:
        found = _by_round(runs, system, other, first)
        if not found:
            return Verdict(OPEN, "there is no round to compare at")
        verdicts = [_verdict(interval, ABOVE) for interval, _ in found]
        overall = REFUTED if REFUTED in verdicts else OPEN if OPEN in verdicts else REPRODUCED
        num_above = verdicts.count(REPRODUCED)
        least, most = _at(*min(found)), _at(*max(found))
        return Verdict(overall, f"above in {num_above} of {len(found)} rounds; least {least}; most {most}")

    return Claim(source, f"{sentence} at every number of bits", (system, other), judge)


def _best_round(source: str, sentence: str, system: str, other: str) -> Claim:
    """The largest mean difference of all rounds against `GAIN`."""

    def judge(runs: Runs) -> Verdict:
        found = _by_round(runs, system, other, 0)
        if not found:
            return Verdict(OPEN, "there is no round to compare at")
        best, bits = max(found)
        return Verdict(_verdict(best, GAIN), f"at most {_at(best, bits)}")

    return Claim(source, sentence, (system, other), judge)


def _reaches_all_pairs(source: str, name: str, system: str) -> Claim:
    def judge(runs: Runs) -> Verdict:
        return _against_level(runs, system, last_figures(runs["all_pairs"]), ALL_PAIRS_SHARE)

    sentence = (
        f"{name} + clustering reaches the level of all pairs at {ALL_PAIRS_SHARE:.0%} of all labels' bits"
    )
    return Claim(source, sentence, (system, "all_pairs", _ALL_LABELS), judge)


def _tcal_bound(runs: Runs) -> Claim:
    """TCAL reaches its own level, with every class label, only late; the level is its longest variant's."""
    needed = "tcal_igarss+tcal_bits=N (N: the bits of all labels)"
    complete = [name for name in runs if _labels_everything(runs, name)]
    system = complete[0] if complete else needed

    def judge(runs: Runs) -> Verdict:
        verdict, by = _against_level(runs, system, last_figures(runs[system]), TCAL_SHARE)
        return Verdict({REPRODUCED: REFUTED, REFUTED: REPRODUCED}.get(verdict, verdict), by)

    sentence = f"TCAL reaches its upper bound only past {TCAL_SHARE:.0%} of all labels' bits"
    return Claim("IGARSS", sentence, (system, _ALL_LABELS), judge)


def _labels_everything(runs: Runs, name: str) -> bool:
    if base_of(name) != "tcal_igarss" or _ALL_LABELS not in runs:
        return False
    pairs = zip(runs[name], runs[_ALL_LABELS], strict=True)
    return all(bits_of(own)[-1] >= bits_of(labels)[-1] for own, labels in pairs)


def _against_level(runs: Runs, system: str, level: Values, share: float) -> Verdict:
    """Judge whether a system reaches a level at a share of the bits of all class labels."""
    budgets = share * np.array([bits_of(rows)[-1] for rows in runs[_ALL_LABELS]])
    ends = np.array([bits_of(rows)[-1] for rows in runs[system]])
    if (ends < budgets).any():
        return Verdict(OPEN, f"{system} ends at {ends.min():,.0f} bits, before {budgets.mean():,.0f}")
    reached = read_at(runs[system], budgets[:, None])[:, 0]
    if np.isnan(reached).any():
        return Verdict(OPEN, f"{system} begins after {budgets.mean():,.0f} bits")
    interval = _interval(reached - level)
    return Verdict(_verdict(interval, -REACHED_WITHIN), _at(interval, budgets.mean()))


def _by_round(runs: Runs, system: str, other: str, first: int) -> list[tuple[PairedDifference, float]]:
    """Return system minus other after each round from `first` on, once the other has started, and costs."""
    bits = common_costs(runs[system])[:, first:]
    differences = read_at(runs[system], bits) - read_at(runs[other], bits)
    columns = zip(differences.T, bits.mean(axis=0), strict=True)
    return [(_interval(each), float(cost)) for each, cost in columns if not np.isnan(each).any()]


def _interval(differences: Values) -> PairedDifference:
    return paired_difference_interval(differences, np.zeros_like(differences), confidence=CONFIDENCE)


def _verdict(interval: PairedDifference, threshold: float) -> str:
    if interval.lower > threshold:
        return REPRODUCED
    return REFUTED if interval.upper < threshold else OPEN


def _at(interval: PairedDifference, bits: float) -> str:
    """Format a difference, its interval and the cost at which it was measured."""
    return f"{interval.mean:+.3f} ({interval.lower:+.3f} to {interval.upper:+.3f}) at {bits:,.0f} bits"
