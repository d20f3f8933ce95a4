r"""Holds what the page promises of the next hundred answers against what they brought.

  python benchmarks/forecast.py --workdir=runs/forecast             # every archive, seeds 100 to 102
  python benchmarks/forecast.py --workdir=runs/forecast --seeds=102 --asks=pairs
  python benchmarks/forecast.py --workdir=runs/forecast --seeds=102 --asks=mixed \
      --people=truthful,erring_by_pair
  python benchmarks/forecast.py --workdir=runs/forecast --refit     # constants from all archives but one

Simulated people answer truthfully, or 5% wrong and 5% unsure (`benchmarks/glances.py`). They are asked as a
run asks (`pairs`) or as the page asks (`mixed`: pairs, choices and grids). A case is a number of answers,
100, 200, ... 1,000, after which a hundred more were given; `gained` is how much larger the share right was
then: training tiles whose group is of their class, that of most of its settled tiles. One line per archive:
cases; the share of them in which the forecast's interval holds; the sum of all forecasts over the sum of
all gains, and the same of the forecast before it, half of the doubt over the number of answers; the mean
distance of both from the gain. `stop` is the share of cases whose range for the answers after which more
hardly help includes the first number of answers from which the next two hundreds gained less than 0.01
each; 1,000 stands for later.

`--refit` sets the factor and the interval by the cases of all archives but one, and tests them on that one,
an archive and its sub-samples being one.

Each archive, person, way of asking and seed is one JSON line, which a second call does not compute again.
"""

import argparse
import dataclasses
import functools
import itertools
import pathlib
from typing import NamedTuple

import numpy as np
from glances import ERRORS, Person, chosen, share_right
from kept_rows import kept_row
from subsamples import SHAPES, SOURCES, TRAIN_FRACTION, save_subsample

from anneal_jax.acquisition.beliefs.choose_several import Interleaved
from anneal_jax.acquisition.beliefs.glances import answers_of
from anneal_jax.acquisition.beliefs.session import add_answer, add_interleaved_answer, ask_next
from anneal_jax.annotation.learning import forecast
from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.belief_rounds import RECENT, open_belief_session, outlook
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.training.factory import make_learner
from anneal_jax.training.start import settle_side, settle_start

ARCHIVES = ("ucm", "rsscn7", "digits", "bluemarble", *SHAPES)

ASKS = ("pairs", "mixed")

LAST = 1_100
"""Answers given at most."""


class Case(NamedTuple):
    """What was promised after some answers, and what came."""

    archive: str
    row: dict
    gained: float
    stop: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="for the sub-samples")
    parser.add_argument("--archives", default=",".join(ARCHIVES))
    parser.add_argument("--people", default="truthful,erring")
    parser.add_argument("--asks", default=",".join(ASKS))
    parser.add_argument("--seeds", default="100,101,102")
    parser.add_argument("--refit", action="store_true", help="constants from the other archives")
    parser.add_argument("--rows", type=pathlib.Path, default=pathlib.Path("docs/measured/forecast.jsonl"))
    arguments = parser.parse_args()
    names = itertools.product(
        arguments.seeds.split(","),
        arguments.archives.split(","),
        arguments.people.split(","),
        arguments.asks.split(","),
    )
    rows = [row_of(arguments, archive, person, asks, int(seed)) for seed, archive, person, asks in names]
    report(cases_of(rows), is_refitted=arguments.refit)


def row_of(arguments, archive, person, asks, seed):
    """Return a row from the file, or compute it and write it there."""
    name = {"archive": archive, "person": person, "asks": asks, "seed": seed}
    return kept_row(
        arguments.rows, name, lambda: one_run(*opened(archive, seed, arguments.workdir), person, asks, seed)
    )


def config_of(archive, seed, workdir):
    """Return the settings of an archive, or of a sub-sample that is drawn if it is not there yet."""
    source, _, form = archive.partition(":")
    settings = SOURCES.get(source, {"archive": source})  # bluemarble has no recipe of its own
    config = ExperimentConfig(**settings, seed=seed)
    if not form:
        return config
    place = workdir / f"{source}_{form}_{seed}.npz"
    if not place.exists():
        save_subsample(config, form, place)
    return dataclasses.replace(config, archive=f"embeddings:{place}", train_fraction=TRAIN_FRACTION)


@functools.lru_cache(maxsize=1)
def opened(archive, seed, workdir):
    """Open an archive once for all people."""
    config = settle_start(config_of(archive, seed, workdir))
    dataset = load_dataset(config)
    config = settle_side(config, dataset.archive)
    learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
    return dataset.labels, open_belief_session(config, dataset, learner)


def one_run(labels, session, person, asks, seed):
    """Answer until nothing is left to ask; return what is forecast from, each hundred answers."""
    converse = by_pairs if asks == "pairs" else by_glances
    before, cases = None, []
    states = converse(session, labels, person, seed)
    for count, beliefs in enumerate(itertools.islice(states, LAST), start=1):
        if count % forecast.STEP == 0:
            found = outlook(session, before, beliefs)
            right = round(share_right(session, beliefs, labels[session.tiles]), 6)
            cases.append([count, round(found.doubt, 6), found.num_moved, right])
        if count % forecast.STEP == forecast.STEP - RECENT:
            before = beliefs
    return {"num_tiles": len(session.tiles), "answers_doubt_moved_right": cases}


def by_pairs(session, labels, person, seed):
    """Yield the beliefs after each answer, asked as a run asks."""
    oracle, beliefs = ClassOracle(labels, *ERRORS[person], seed), session.start
    while (asked := ask_next(session, beliefs))[1] is not None:
        beliefs, pair = asked
        beliefs = add_answer(session, beliefs, *pair, oracle(*pair))
        yield beliefs


def by_glances(session, labels, person, seed):
    """Yield the beliefs after each answer, asked as the page asks."""
    looking, state = Person(labels, session, person, seed), Interleaved(session.start, {})
    while (glance := chosen(session, state, "mixed")) is not None:
        picked, is_unsure, _ = looking.look(glance)
        for answer in answers_of(glance, picked, is_unsure=is_unsure):
            state = add_interleaved_answer(session, state, *answer[:3], **answer.reading())
            yield state.beliefs


def cases_of(rows):
    """Return the cases in which a hundred more answers were given."""
    cases = []
    for row in rows:
        figures = row["answers_doubt_moved_right"]
        gains = np.diff([right for *_, right in figures])
        stops = [
            place for place in range(len(gains)) if (gains[place : place + 2] < forecast.MIN_GAIN).all()
        ]
        stop = figures[stops[0]][0] if stops else figures[-1][0]
        for (count, doubt, moved, _), gained in zip(figures, gains, strict=False):
            curve_row = {"set_id": 1, "trained_on": count, "doubt": doubt}
            curve_row |= {"num_moved": moved, "num_tiles": row["num_tiles"]}
            cases.append(Case(row["archive"], curve_row, float(gained), min(stop, 1_000)))
    return cases


def report(cases, *, is_refitted):
    """Print a line for each archive, then for all."""
    forecasts = np.array(
        refitted(cases) if is_refitted else [forecast.expected_gain([case.row], 1) for case in cases]
    )
    names = np.array([case.archive for case in cases])
    for name in dict.fromkeys(names):
        print(line(name, [case for case in cases if case.archive == name], forecasts[names == name]))
    print(line("all", cases, forecasts), flush=True)


def line(name, cases, forecasts):
    """Write the figures of some cases."""
    gained = np.array([case.gained for case in cases])
    least, expected, most = forecasts.T
    before = np.array([before_this(case.row) for case in cases])
    off, off_before = (np.mean(np.abs(one - gained)) for one in (expected, before))
    sums = [one.sum() / max(gained.sum(), 1e-9) for one in (expected, before)]
    holds = np.mean((least <= gained + 1e-9) & (gained <= most + 1e-9))
    return (
        f"{name:18s} {len(cases):4d} cases  holds {holds:.2f}  forecast over gained {sums[0]:.2f} "
        f"(before {sums[1]:.2f})  off by {off:.4f} (before {off_before:.4f})  "
        f"stop {np.mean([has_stop(case) for case in cases]):.2f}"
    )


def before_this(row):
    """Return the forecast of earlier versions, half of the doubt over the number of answers."""
    return min(1.0, 0.5 * forecast.STEP * row["doubt"] / row["trained_on"])


def has_stop(case):
    """Return whether the range of answers after which more hardly help has the true number in it."""
    count = case.row["trained_on"]
    found = forecast.progress([case.row], 1, count)
    if case.stop <= count:  # that it is over should be said, or that it may be
        return found.least <= count
    return found.least <= case.stop <= max(found.most, count)


def refitted(cases):
    """Return float64[C, 3], forecasts by constants from the other archives' cases."""
    sources = np.array([case.archive.partition(":")[0] for case in cases])
    gained = np.array([case.gained for case in cases])
    tiles = np.array([case.row["num_tiles"] for case in cases])
    counts = np.array([forecast.num_open(case.row) for case in cases])
    found = np.zeros((len(cases), 3))
    for source in np.unique(sources):
        others, own = sources != source, sources == source
        factor = gained[others].sum() / (counts / tiles)[others].sum()
        ratios = (np.maximum(gained * tiles, 0) + 1) / (factor * counts + 1)
        low, high = np.quantile(ratios[others], [0.1, 0.9])
        expected = factor * counts[own]
        bounds = [low * (expected + 1) - 1, expected, high * (expected + 1) - 1]
        found[own] = np.clip(np.stack(bounds, axis=1) / tiles[own, None], 0, 1)
        print(f"without {source}: factor {factor:.2f}, interval {low:.2f} to {high:.2f} times that")
    return found


if __name__ == "__main__":
    main()
