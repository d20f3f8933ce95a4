"""Measure each choice of `belief_ask`: the recipe, and the recipe with one thing changed.

  python benchmarks/levers.py                                    # seeds 100 to 104 on UC Merced, truthful
  python benchmarks/levers.py --wrong=0.05 --unsure=0.05 --bits=500,1000,1500 --levers=recipe,trusting
  python benchmarks/levers.py --train --bits=500 --levers=recipe

Each lever and budget has one line, with means over the seeds and half of the 95% t interval:

- the share of training tiles, asked about or not, in a group of their own class (a group has the class of
  most of its settled tiles);
- the adjusted Rand index of all training tiles' groups;
- the numbers of groups and of settled tiles, and the mean doubt about a tile's group;
- with --train, the mAP@5 of queries, over min(k, R), and the precision@5 among training tiles, by what was
  learnt alone and combined with the features.

"less recipe" is the difference from the recipe, paired by seed.
"""

import argparse
import dataclasses
import functools
import json
import pathlib

import numpy as np
from paired import interval
from sklearn.metrics import adjusted_rand_score

from anneal_jax.acquisition.beliefs.choose import next_question
from anneal_jax.acquisition.beliefs.learnt import learn_graph
from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.session import BeliefSession
from anneal_jax.acquisition.beliefs.state import (
    OPEN,
    BeliefSettings,
    begin,
    settled_groups,
)
from anneal_jax.acquisition.beliefs.update import add_answer
from anneal_jax.config import ExperimentConfig
from anneal_jax.evaluation.ranking import rank_archive, relevance
from anneal_jax.evaluation.retrieval_quality import CUT_OFF, evaluate_retrieval
from anneal_jax.experiments.belief_rounds import mean_doubt, training_groups
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.training.factory import make_learner
from anneal_jax.training.learner import centred, represent, standardise
from anneal_jax.training.start import settle_side, settle_start

UCM = ExperimentConfig(
    archive="folder:../shared/data/ucm",
    backbone="mobilenet_v2",
    pretrained="../shared/weights/mobilenet_v2_1.0_224_imagenet.npz",
)

LEVERS = {
    "recipe": {},
    "as_before": {"graph": {"has_medoids": False}, "learns": "never"},
    "no_medoids": {"graph": {"has_medoids": False}},
    "never_learnt": {"learns": "never"},
    "learnt_unguarded": {"learns": "always"},
    "first_new_group_after_one": {"least_first_answers": 1},
    "first_new_group_after_four": {"least_first_answers": 4},
    "sizes_as_they_are": {"balance": 0.0},
    "equal_sizes": {"balance": 1.0},
    "new_group_at_first_no": {"least_answers": 1},
    "new_group_after_ten": {"least_answers": 10},
    "settle_at_0.8": {"confidence": 0.8},
    "settle_at_0.97": {"confidence": 0.97},
    "longer_walks": {"death": 0.02},
    "shorter_walks": {"death": 0.2},
    "trusting": {"error_range": (0.01, 0.01)},
    "wary": {"error_range": (0.05, 0.05)},
    "no_second_thoughts": {"most_checks": 1},
    "join_at_0.9": {"join_confidence": 0.9},
    "never_join": {"joining": 1e-6},
    "joining_asked_from_0.1": {"least_joining": 0.1},
    "never_split": {"least_denied": 1_000_000},
    "centred_features": {"graph": {"is_scaled": False}},
    "5_neighbours": {"graph": {"num_neighbours": 5}},
    "20_neighbours": {"graph": {"num_neighbours": 20}},
    "flat_edges": {"graph": {"sharpness": 1.0}},
}
"""The recipe, and what is changed of it by name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", default=UCM.archive, help="as a run's; digits takes pixels")
    parser.add_argument("--backbone", default=UCM.backbone, choices=[UCM.backbone, "auto"])
    parser.add_argument("--bits", default="300,500,700,1000")
    parser.add_argument("--seeds", default="100,101,102,103,104")
    parser.add_argument("--levers", default=",".join(LEVERS))
    parser.add_argument("--wrong", type=float, default=0.0, help="share of wrong answers")
    parser.add_argument("--unsure", type=float, default=0.0, help="share of unsure answers")
    parser.add_argument("--train", action="store_true", help="train on each budget's groups, too")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    rows, recipe = [], {}
    for lever in arguments.levers.split(","):
        for row in rows_of(lever, arguments):
            if lever == "recipe":
                recipe[row["bits"]] = row
            elif row["bits"] in recipe:
                for name in ("right", "rand_index"):
                    less = np.subtract(row[name], recipe[row["bits"]][name])
                    row["text"] += f"  {name} less recipe {interval(less, '+')}"
            rows.append(row)
            print("{lever:24s} {bits:6,d} bits  {text}".format(**row), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"archive": arguments.archive, "rows": rows}, indent=2))


def rows_of(lever, arguments):
    """Run a lever with every seed; return one row per budget."""
    budgets = [int(bits) for bits in arguments.bits.split(",")]
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    runs = [one_run(LEVERS[lever], budgets, seed, arguments) for seed in seeds]
    rows = []
    for place, bits in enumerate(budgets):
        found = {name: [run[place][name] for run in runs] for name in runs[0][place]}
        rows.append({"lever": lever, "bits": bits, **found, "text": described(found)})
    return rows


def one_run(changes, budgets, seed, arguments):
    """Ask to the last budget; return the figures at each."""
    dataset, learner = opened(arguments.archive, arguments.backbone, seed)
    tiles = dataset.split.train
    graph = graph_of(learner, tiles, **changes.get("graph", {}))
    learns = changes.get("learns", "if_it_leads")
    own = {name: value for name, value in changes.items() if name not in ("graph", "learns")}
    settings = BeliefSettings(**own)
    oracle = ClassOracle(dataset.labels, arguments.wrong, arguments.unsure, seed)
    session = BeliefSession(tiles, graph, begin(graph))
    state, figures = session.start, []
    for bits in range(1, budgets[-1] + 1):
        state, pair = next_question(session.graph_of(state), state, settings)
        if pair is not None:
            answer = oracle(int(tiles[pair[0]]), int(tiles[pair[1]]))
            state = add_answer(session.graph_of(state), state, *pair, answer, settings)
            state = learnt(graph, state, settings, learns)
        if bits in budgets:
            figures.append(judged(session.graph_of(state), state, dataset.labels[tiles], settings))
            figures[-1]["doubt"] = mean_doubt(session, state)
            if arguments.train:
                figures[-1] |= trained(dataset, learner, session, state)
    return figures


def learnt(graph, state, settings, learns):
    """Learn the graph as the recipe does, or never, or without a guard."""
    if learns == "never":
        return state
    if learns == "always" and state.learnt is not None:
        state = state._replace(learnt=state.learnt._replace(lead=1e9))
    return learn_graph(graph, state, settings)


def trained(dataset, learner, session, state):
    """Train on the beliefs; return the quality of search, alone and combined with the features."""
    images, groups, weights = training_groups(session, state)
    alone = learner.fit_classes(images, groups, weights=weights)
    figures, names = {}, range(len(session.tiles))
    for name, params in (
        ("alone", alone),
        ("beside", learner.beside_features(alone, mean_doubt(session, state))),
    ):
        vectors = represent(learner, params).embeddings
        found = evaluate_retrieval(vectors, dataset.labels, dataset.split)
        tiles, classes = vectors[session.tiles], dataset.labels[session.tiles]
        ranking = rank_archive(tiles, tiles, CUT_OFF, query_ids=names, archive_ids=names)
        figures[f"map_at_5_{name}"] = found.mean_average_precision
        figures[f"precision_at_5_of_training_tiles_{name}"] = float(
            np.mean(relevance(classes, classes, ranking))
        )
    return figures


@functools.cache
def opened(archive, backbone, seed):
    """Open an archive once for all levers."""
    recipe = UCM if backbone == UCM.backbone else ExperimentConfig()
    recipe = recipe if archive != "digits" else ExperimentConfig(backbone="pixels", steps=300)
    config = settle_start(dataclasses.replace(recipe, archive=archive, seed=seed))
    dataset = load_dataset(config)
    config = settle_side(config, dataset.archive)
    return dataset, make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)


def graph_of(learner, tiles, *, is_scaled=True, has_medoids=True, **options):
    """Build the graph as a run does, or from features that are only centred, or without medoids.

    Without medoids the best connected tile founds the first group.
    """
    features = learner.features(None)
    scaled = standardise(features[tiles], learner.mean, learner.scale)
    graph = neighbour_graph(scaled if is_scaled else centred(features, tiles)[tiles], **options)
    if has_medoids:
        return graph
    return graph._replace(medoids=np.argmax(graph.smooth.sum(axis=1), keepdims=True))


def judged(graph, state, classes, settings):
    """Compare the beliefs with the classes."""
    groups, _ = settled_groups(graph, state, settings)
    settled = np.flatnonzero(state.groups != OPEN)
    counts = np.zeros((state.num_groups, classes.max() + 1))
    np.add.at(counts, (state.groups[settled], classes[settled]), 1)
    right = np.mean(np.argmax(counts, axis=1)[groups] == classes)
    return {
        "right": float(right),
        "rand_index": float(adjusted_rand_score(classes, groups)),
        "groups": state.num_groups,
        "settled": int(settled.size),
    }


def described(found):
    """Write each figure as its mean and half of its interval."""
    texts = (
        f"{name} {interval(values, digits=3 if np.mean(values) <= 1 else 0)}"
        for name, values in found.items()
    )
    return "  ".join(texts)


if __name__ == "__main__":
    main()
