r"""Minutes of a simulated person who answers pairs alone, or with choices, or with grids too.

  python benchmarks/glances.py                                   # seconds to share right 0.95, truthful
  python benchmarks/glances.py --person=erring --train --archives=folder:../shared/data/ucm
  python benchmarks/glances.py --person=erring --train --archives=folder:../shared/data/rsscn7 \
      --precisions=0.80,0.85

The plan `pairs` asks what the page's mode of that name asks; `choices` and `mixed` take the glance of most
expected gain per second, `choices` among pairs and choices alone. A glance takes the seconds of
`GlanceSeconds`, and more by the share of hard pairs in it: different tiles whose features are as like as
the middle pair of one class, or the other way round. All persons overlook 5% of what they would click in a
grid. There are three persons:

- truthful: answers by the class labels.
- erring: 5% of the answers are wrong and 5% unsure, whatever the kind. A wrong choice is any other outcome;
  in a wrong grid one tile is clicked that should not be, or left; in an unsure one a tile is left.
- erring_by_pair: errs as often about each pair of tiles, and chooses the first group that seems alike, so
  that a choice among five groups is wrong up to five times as often as a pair.

Each archive, seed and plan gets one JSON line, which a second call does not compute again: the share of
training tiles that lie in a group of their own class, asked about or not, every 15 s. With --train also
precision@5 *within*: every training tile is searched for among all others, by what is learnt from the
answers so far, as a run trains. Trained is as often as it takes to find by bisection when each of
--precisions is reached, to 15 s.
"""

import argparse
import functools
import itertools
import pathlib

import numpy as np
from kept_rows import kept_row

from anneal_jax.acquisition.beliefs.choose_several import Interleaved
from anneal_jax.acquisition.beliefs.glance_oracle import GlanceOracle
from anneal_jax.acquisition.beliefs.glances import KINDS, MISS_RATE, Glance, GlanceSeconds, answers_of
from anneal_jax.acquisition.beliefs.session import (
    add_interleaved_answer,
    propose_glances,
    propose_several,
)
from anneal_jax.acquisition.beliefs.state import OPEN, settled_groups
from anneal_jax.config import ExperimentConfig
from anneal_jax.evaluation.ranking import rank_archive, relevance
from anneal_jax.evaluation.retrieval_quality import CUT_OFF
from anneal_jax.experiments.belief_rounds import fit_beliefs, open_belief_session
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.seeds import Use
from anneal_jax.training.factory import make_learner
from anneal_jax.training.learner import represent
from anneal_jax.training.start import settle_side, settle_start

STEP_S = 15

PLANS = {"pairs": ("pair",), "choices": ("pair", "choice"), "mixed": KINDS}
"""The kinds of glances of each plan."""

ERRORS = {"truthful": (0.0, 0.0), "erring": (0.05, 0.05), "erring_by_pair": (0.05, 0.05)}
"""Shares of wrong and of unsure answers."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archives", default="folder:../shared/data/ucm,folder:../shared/data/rsscn7")
    parser.add_argument("--seeds", default="100,101,102")
    parser.add_argument("--plans", default=",".join(PLANS))
    parser.add_argument("--person", default="truthful", choices=list(ERRORS))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rights", default="0.80,0.90,0.95")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--precisions", default="0.90,0.95")
    parser.add_argument("--rows", type=pathlib.Path, default=pathlib.Path("glances.jsonl"))
    arguments = parser.parse_args()
    for archive in arguments.archives.split(","):
        rows = [
            row_of(arguments, archive, int(seed), plan)
            for seed in arguments.seeds.split(",")
            for plan in arguments.plans.split(",")
        ]
        report(rows, archive, arguments)


def row_of(arguments, archive, seed, plan):
    """Return a row from the file, or compute it and write it there."""
    name = {"archive": archive, "seed": seed, "plan": plan, "person": arguments.person}
    name |= {"trained": arguments.train}
    return kept_row(arguments.rows, name, lambda: one_person(arguments, archive, seed, plan))


def one_person(arguments, archive, seed, plan):
    """Let a person answer for some minutes; return what is known every 15 s."""
    dataset, learner, session = opened(archive, seed)
    person = Person(dataset.labels, session, arguments.person, seed)
    states, glances = answered(session, person, plan, 60 * arguments.minutes)
    classes = dataset.labels[session.tiles]
    right = [round(share_right(session, beliefs, classes), 5) for beliefs in states]
    row = {"step_s": STEP_S, "right": right, **glances}
    if arguments.train:
        precision = functools.cache(
            lambda place: precision_within(session, states[place], dataset, learner)
        )
        row["precision_s"] = {
            text: STEP_S * first_place(precision, float(text), len(states))
            for text in arguments.precisions.split(",")
        }
        row["precision_at_the_end"] = precision(len(states) - 1)
    return row


def answered(session, person, plan, longest_s):
    """Return what is believed every 15 s, and how many glances of each kind were taken."""
    state, now, states, taken = Interleaved(session.start, {}), 0.0, [], dict.fromkeys(KINDS, 0)
    num_answers = 0
    while now < longest_s and (glance := chosen(session, state, plan)) is not None:
        picked, is_unsure, seconds = person.look(glance)
        while STEP_S * len(states) <= now + seconds:
            states.append(state.beliefs)
        now += seconds
        taken[glance.kind] += 1
        for answer in answers_of(glance, picked, is_unsure=is_unsure):
            num_answers += 1
            state = add_interleaved_answer(session, state, *answer[:3], **answer.reading())
    return [*states, state.beliefs], {"taken": taken, "num_answers": num_answers, "end_s": now}


def chosen(session, state, plan):
    """Return the next glance of a plan."""
    if plan == "pairs":
        pair = next(propose_several(session, state), None)
        return pair and Glance("pair", pair[0], (pair[1],), 0.0)
    return next(propose_glances(session, state, kinds=PLANS[plan]), None)


class Person:
    """Looks at glances, as slowly as they are hard, and errs."""

    def __init__(self, labels, session, person, seed):
        self._labels, self._seed = labels, seed
        self._errors, self._errs_by_pair = ERRORS[person], person == "erring_by_pair"
        self._by_pairs = GlanceOracle(ClassOracle(labels, *self._errors, seed), len(labels), seed)
        self._places = {int(tile): place for place, tile in enumerate(session.tiles)}
        self._features = session.graph.features
        rng = np.random.default_rng(seed)
        pairs = rng.integers(len(session.tiles), size=(50_000, 2))
        is_alike = np.equal(*labels[session.tiles[pairs]].T)
        cosines = np.sum(np.prod(self._features[pairs], axis=1), axis=1)
        self._middle = [float(np.median(cosines[is_alike == alike])) for alike in (False, True)]

    def look(self, glance):
        """Return the tiles picked, whether the person was unsure, and the seconds it took."""
        by_pair = self._errs_by_pair or glance.kind == "pair"
        look = self._by_pairs.look if by_pair else self._answer_at_once
        picked, is_unsure = look(glance)
        clicks = len(picked) if glance.kind == "grid" else 0
        hard = np.mean([self._is_hard(glance.subject, other) for other in glance.others])
        return picked, is_unsure, (1 + hard) * GlanceSeconds().of(glance.kind, len(glance.others), clicks)

    def _answer_at_once(self, glance):
        """Err about a whole choice or grid: another outcome of a choice, one tile of a grid."""
        wrong, unsure = self._errors
        rng = np.random.default_rng([self._seed, glance.subject, *glance.others, int(Use.HELD_OUT)])
        chance = rng.random()
        is_wrong, is_unsure = chance < wrong, wrong <= chance < wrong + unsure
        is_alike = self._labels[list(glance.others)] == self._labels[glance.subject]
        if glance.kind == "choice":
            truth = [other for other, alike in zip(glance.others, is_alike, strict=True) if alike][:1]
            outcomes = [
                outcome for outcome in [[], *([other] for other in glance.others)] if outcome != truth
            ]
            picked = outcomes[rng.integers(len(outcomes))] if is_wrong else truth
            return ([] if is_unsure else picked), is_unsure
        is_clicked = ~is_alike & (rng.random(len(is_alike)) >= MISS_RATE)
        one = rng.integers(len(is_clicked))
        if is_wrong:
            is_clicked[one] ^= True
        if is_unsure:
            is_clicked[one] = False
        return [other for other, clicked in zip(glance.others, is_clicked, strict=True) if clicked], False

    def _is_hard(self, first, second):
        cosine = self._features[self._places[first]] @ self._features[self._places[second]]
        is_alike = self._labels[first] == self._labels[second]
        return cosine < self._middle[0] if is_alike else cosine > self._middle[1]


@functools.lru_cache(maxsize=1)
def opened(archive, seed):
    """Open an archive once for both plans."""
    config = settle_start(ExperimentConfig(archive=archive, seed=seed))
    dataset = load_dataset(config)
    config = settle_side(config, dataset.archive)
    learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
    return dataset, learner, open_belief_session(config, dataset, learner)


def share_right(session, beliefs, classes):
    """Return the share of tiles whose group is of their class: that of most of its settled tiles."""
    groups, _ = settled_groups(session.graph_of(beliefs), beliefs)
    settled = np.flatnonzero(beliefs.groups != OPEN)
    counts = np.zeros((beliefs.num_groups, classes.max() + 1))
    np.add.at(counts, (beliefs.groups[settled], classes[settled]), 1)
    return float(np.mean(np.argmax(counts, axis=1)[groups] == classes))


def precision_within(session, beliefs, dataset, learner):
    """Return precision@5 of every training tile among all others, by what is learnt from the answers."""
    params = fit_beliefs(session, beliefs, learner, 0, use="train on the answers")
    vectors = represent(learner, params).embeddings[session.tiles]
    names, classes = range(len(vectors)), dataset.labels[session.tiles]
    ranking = rank_archive(vectors, vectors, CUT_OFF, query_ids=names, archive_ids=names)
    return float(np.mean(relevance(classes, classes, ranking)))


def first_place(value, least, num_places):
    """Return the first place with a value of at least `least`, for growing values; or infinity."""
    low, high = 0, num_places - 1
    if value(high) < least:
        return float("inf")
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if value(middle) >= least else (middle + 1, high)
    return low


def first_second(row, least):
    """Return the second at which the share right of a row is first at least `least`, or infinity."""
    reached = np.flatnonzero(np.array(row["right"]) >= least)
    return row["step_s"] * float(reached[0]) if reached.size else np.inf


def report(rows, archive, arguments):
    """Print each row, and the share of the minutes of pairs that a mix takes, where both get there."""
    found = {}
    for row in rows:
        seconds = {f"right {text}": first_second(row, float(text)) for text in arguments.rights.split(",")}
        seconds |= {f"precision@5 {name}": value for name, value in row.get("precision_s", {}).items()}
        found[row["seed"], row["plan"]] = seconds
        text = ", ".join(f"{name} in {value / 60:.1f} min" for name, value in seconds.items())
        print(f"{archive} seed {row['seed']} {row['plan']}: {text}; {row['taken']}", flush=True)
    for name, one in itertools.product(next(iter(found.values())), PLANS):
        both = [
            (found[seed, one][name], found[seed, "pairs"][name])
            for seed, plan in found
            if plan == one != "pairs" and (seed, "pairs") in found
        ]
        there = np.array([times for times in both if np.isfinite(times).all()])
        if there.size:
            share = there[:, 0].sum() / there[:, 1].sum()
            each = ", ".join(f"{value / 60:.2f}/{of_pairs / 60:.2f}" for value, of_pairs in both)
            print(f"{archive} {name}: {one} takes {share:.2f} of the minutes of pairs ({each})")


if __name__ == "__main__":
    main()
