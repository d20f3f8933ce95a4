"""Measure how much marks on search results teach: a simulated person searches and marks results.

  python benchmarks/marks.py                        # UC Merced, seeds 0 to 4, 700 answers
  python benchmarks/marks.py --seeds=0 --answers=280 --k=7

The person searches by a random training tile, truthfully marks the first k results without a mark, and
searches by the next tile. After every fifth of the marks a model is trained on the marks alone, as the
page does, and finds the next results. Two others are compared: one answers as many questions of
`belief_ask` instead, and one alternates between k questions and k marks. Each seed and budget has one
line: mAP@5 of held-out queries, before any training and after each person's answers. Last come the mean
differences from the features with half of the 95% t interval.
"""

import argparse
import dataclasses
import functools
import json
import pathlib

import numpy as np
from paired import interval

from anneal_jax.acquisition.beliefs.choose_several import Interleaved
from anneal_jax.acquisition.beliefs.session import add_interleaved_answer, propose_several
from anneal_jax.config import ExperimentConfig
from anneal_jax.evaluation.ranking import rank_archive
from anneal_jax.evaluation.retrieval_quality import evaluate_retrieval
from anneal_jax.experiments.belief_rounds import fit_beliefs, open_belief_session, training_groups
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.training.factory import make_learner
from anneal_jax.training.learner import centred, represent
from anneal_jax.types import Answer

UCM = ExperimentConfig(
    archive="folder:../shared/data/ucm",
    backbone="mobilenet_v2",
    pretrained="../shared/weights/mobilenet_v2_1.0_224_imagenet.npz",
)

NUM_BUDGETS = 5

PLANS = ("marks", "questions", "in_turn")

LINE = (
    "seed {seed}  {plan:9s} {bits:5,d} answers, {yes:.0%} yes  {tiles:5,d} tiles in {groups:3d} groups, "
    "pure {pure:.3f}  mAP@5 {features:.3f} -> {trained:.3f}"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archive", default=UCM.archive, help="as a run's; digits takes pixels")
    parser.add_argument("--answers", type=int, default=700, help="of a person, in all")
    parser.add_argument("--k", type=int, default=7, help="results marked for each query")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--plans", default=",".join(PLANS))
    parser.add_argument("--json", type=pathlib.Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    rows = []
    for seed in map(int, arguments.seeds.split(",")):
        for plan in arguments.plans.split(","):
            for row in one_person(arguments, seed, plan):
                rows.append({"seed": seed, "plan": plan, **row})
                print(LINE.format(**rows[-1]), flush=True)
    for plan, bits in dict.fromkeys((row["plan"], row["bits"]) for row in rows):
        found = [row for row in rows if (row["plan"], row["bits"]) == (plan, bits)]
        gains = [row["trained"] - row["features"] for row in found]
        print(f"{plan:9s} {bits:5,d}  mAP@5 against features {interval(np.array(gains), '+')}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


def one_person(arguments, seed, plan):
    """Let a person answer to the last budget; return the figures at each."""
    dataset, learner = opened(arguments.archive, seed)
    session = open_belief_session(learner_config(arguments.archive, seed), dataset, learner)
    tiles, oracle = dataset.split.train, ClassOracle(dataset.labels)
    features = vectors = centred(learner.features(None), tiles)
    queries = iter(np.random.default_rng(seed).permutation(tiles).tolist())
    state, said, rows = Interleaved(session.start, {}), {}, []
    for part in range(1, NUM_BUDGETS + 1):
        budget = arguments.answers * part // NUM_BUDGETS
        while len(said) < budget:
            count = min(arguments.k, budget - len(said))
            is_search = plan == "marks" or (plan == "in_turn" and len(said) // arguments.k % 2 == 1)
            pairs = results(vectors, tiles, next(queries), said) if is_search else asked(session, state)
            for pair in pairs[:count] if is_search else pairs:
                said[pair] = oracle(*pair)
                state = add_interleaved_answer(session, state, *pair, said[pair])
        params = fit_beliefs(session, state.beliefs, learner, 0, use="train on the answers")
        vectors = represent(learner, params).embeddings
        rows.append(
            {
                "bits": budget,
                "yes": float(np.mean([answer == Answer.SIMILAR for answer in said.values()])),
                **judged(session, state.beliefs, dataset.labels),
                "features": evaluate_retrieval(
                    features, dataset.labels, dataset.split
                ).mean_average_precision,
                "trained": evaluate_retrieval(
                    vectors, dataset.labels, dataset.split
                ).mean_average_precision,
            }
        )
    return rows


def learner_config(archive, seed):
    """Return the settings of a run."""
    recipe = UCM if archive != "digits" else ExperimentConfig(backbone="pixels", steps=300)
    return dataclasses.replace(recipe, archive=archive, seed=seed)


@functools.cache
def opened(archive, seed):
    """Open an archive once for all plans."""
    dataset = load_dataset(learner_config(archive, seed))
    return dataset, make_learner(
        learner_config(archive, seed), dataset.archive, dataset.split.train, with_classifier=False
    )


def asked(session, state):
    """Return the question that the page asks next, in a list."""
    return [next(propose_several(session, state))]


def results(vectors, tiles, query, said):
    """Return the pairs of a query and its results without a mark, the best first."""
    found = tiles[rank_archive(vectors[[query]], vectors[tiles], len(tiles))[0]].tolist()
    pairs = [(min(query, tile), max(query, tile)) for tile in found if tile != query]
    return [pair for pair in pairs if pair not in said]


def score(vectors, dataset):
    """Return mAP@5 of the held-out queries."""
    return evaluate_retrieval(vectors, dataset.labels, dataset.split).mean_average_precision


def judged(session, beliefs, labels):
    """Compare the groups that are trained on with the classes."""
    images, groups, _ = training_groups(session, beliefs)
    counts = np.zeros((beliefs.num_groups, labels.max() + 1))
    np.add.at(counts, (groups, labels[images]), 1)
    return {
        "groups": int(np.count_nonzero(counts.sum(axis=1))),
        "tiles": len(images),
        "pure": float(counts.max(axis=1).sum() / max(1, len(images))),
    }


if __name__ == "__main__":
    main()
