"""What raises the bound of a frozen network cheaply: other features, or other fits of its heads.

  python benchmarks/bound.py                                 # UC Merced and RSSCN7, seeds 100 to 102
  python benchmarks/bound.py --variants=recipe,cosine --bits=all

The heads are trained on all class labels ("all"), or on the groups that `belief_ask` believes in after so
many truthful answers; the answers are the same for all variants. mAP@5 is that of held-out queries over
min(k, R), by what was learnt, with answers combined with the features by doubt, as a run does. "less
recipe" is paired by seed: mean and half of the 95% t interval.

"tiles" is the cost of a tile's features, in passes of the network over a tile of the recipe's side: that of
every query and of every tile of the archive. "fit" is the CPU time of training, in that of the recipe.

Each archive, variant, budget and seed is one JSON line, which a second call does not compute again.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import pathlib
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from paired import interval

from anneal_jax.acquisition.beliefs.session import BeliefSession, add_answer, ask_next
from anneal_jax.acquisition.beliefs.state import (
    OPEN,
    Beliefs,
    BeliefSettings,
    membership,
    settled_groups,
    spread,
)
from anneal_jax.config import ExperimentConfig
from anneal_jax.evaluation.retrieval_quality import evaluate_retrieval
from anneal_jax.experiments.belief_rounds import mean_doubt, open_belief_session, training_groups
from anneal_jax.experiments.dataset import Dataset, load_dataset
from anneal_jax.files.atomic import replacing
from anneal_jax.losses.masking import batch_similarities, logsumexp_where
from anneal_jax.models.heads import SimilarityNetwork
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.seeds import Use, device_key
from anneal_jax.training.factory import make_learner
from anneal_jax.training.features import default_cache_dir, extract_features, standardisation
from anneal_jax.training.frozen import CHUNK_STEPS, FrozenLearner, FrozenLoss
from anneal_jax.training.head_fit import fit
from anneal_jax.training.head_steps import FitSettings, HeadParams
from anneal_jax.training.network import load_network
from anneal_jax.training.optimiser import Schedule
from anneal_jax.training.sampling import draw_image_batches, draw_weighted_group_batches
from anneal_jax.types import Archive, FloatArray

MOBILENET = ExperimentConfig(
    backbone="mobilenet_v2",
    pretrained="../shared/weights/mobilenet_v2_1.0_224_imagenet.npz",
    image_size=224,
)


class Variant(NamedTuple):
    """What differs from the recipe.

    Attributes:
      views: orientations of a tile whose features are averaged: 0 to 3 turned by so many right angles, 4 to
        7 mirrored first.
      sides: in pixels, over which they are averaged too.
      whitened: principal directions kept, each divided by its spread; 0: features as they are.
      num_heads: heads trained, each from other random numbers, whose cosines are averaged.
      schedule: of the learning rate.
      is_soft: whether tiles are trained on by their chances of all groups, not by the likeliest alone.
    """

    views: tuple[int, ...] = (0,)
    sides: tuple[int, ...] = (224,)
    whitened: int = 0
    num_heads: int = 1
    schedule: str = "constant"
    is_soft: bool = False


VARIANTS = {
    "recipe": Variant(),
    "cosine": Variant(schedule="cosine"),
    "whitened": Variant(whitened=256),
    "soft_groups": Variant(is_soft=True),
    "two_sides": Variant(sides=(224, 160)),
    "mirrored": Variant(views=(0, 4)),
    "three_heads": Variant(num_heads=3),
    "eight_views": Variant(views=tuple(range(8))),
}

SHRINKAGE = 0.1
"""Share of the mean variance that whitening adds to each direction's own."""


class Known(NamedTuple):
    """What is trained on.

    Attributes:
      images: int32[M].
      groups: int32[M].
      weights: float64[M]; None draws all equally often.
      chances: float32[M, G], of each tile's groups.
      doubt: share of the features in an embedding.
    """

    images: np.ndarray
    groups: np.ndarray
    weights: np.ndarray | None
    chances: FloatArray
    doubt: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archives", default="folder:../shared/data/ucm,folder:../shared/data/rsscn7")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--bits", default="all,168,504,1008")
    parser.add_argument("--seeds", default="100,101,102")
    parser.add_argument("--rows", type=pathlib.Path, default=pathlib.Path("docs/measured/bound.jsonl"))
    arguments = parser.parse_args()
    names, budgets = arguments.variants.split(","), arguments.bits.split(",")
    names = ["recipe", *(name for name in names if name != "recipe")]  # what all others are compared with
    archives, seeds = arguments.archives.split(","), [int(seed) for seed in arguments.seeds.split(",")]
    rows = read(arguments.rows) if arguments.rows.exists() else {}
    for seed, archive, bits, name in itertools.product(seeds, archives, budgets, names):
        key = (archive, name, bits, seed)
        if key not in rows:
            rows[key] = one_row(*key)
            with replacing(arguments.rows) as path:
                path.write_text("".join(map(line, rows.values())), "utf-8")
    for archive in archives:
        report(archive, names, budgets, seeds, rows)


def read(path):
    """Return the rows of a file by archive, variant, bits and seed."""
    rows = [json.loads(text) for text in path.read_text("utf-8").splitlines()]
    return {(row["archive"], row["variant"], row["bits"], row["seed"]): row for row in rows}


def line(row):
    """Write a row as one line."""
    return json.dumps(row) + "\n"


def report(archive, names, budgets, seeds, rows):
    """Print one table: a line for each variant."""
    print(f"\n{archive}\n\n| | tiles | fit | {' | '.join(budgets)} |\n" + "|---" * (3 + len(budgets)) + "|")
    for name in names:
        cells = []
        for bits in budgets:
            found, recipe = (
                np.array([rows[archive, one, bits, seed]["map_at_5"] for seed in seeds])
                for one in (name, "recipe")
            )
            less = "" if name == "recipe" else f", {interval(found - recipe, '+')}"
            cells.append(f"{found.mean():.3f}{less}")
        spent, usual = (
            sum(rows[archive, one, bits, seed]["fit_s"] for bits in budgets for seed in seeds)
            for one in (name, "recipe")
        )
        print(f"| {name} | {passes(VARIANTS[name]):.1f} | {spent / usual:.1f} | {' | '.join(cells)} |")


def passes(variant):
    """Return the cost of a tile's features in passes at the recipe's side."""
    return len(variant.views) * sum((side / MOBILENET.image_size) ** 2 for side in variant.sides)


def one_row(archive, name, bits, seed):
    """Train a variant; return how well it finds tiles."""
    variant, (dataset, _, _) = VARIANTS[name], answered(archive, seed)
    one_head = variant._replace(num_heads=1)
    heads = [trained(archive, bits, seed, one_head, head) for head in range(variant.num_heads)]
    vectors = np.concatenate([vectors for vectors, _ in heads], axis=1)
    vectors /= np.float32(np.sqrt(variant.num_heads))
    found = evaluate_retrieval(vectors, dataset.labels, dataset.split).mean_average_precision
    row = {"archive": archive, "variant": name, "bits": bits, "seed": seed}
    row |= {"map_at_5": found, "fit_s": round(sum(spent for _, spent in heads), 2)}
    print(line(row), end="", flush=True)
    return row


@functools.lru_cache(maxsize=len(VARIANTS))
def trained(archive: str, bits: str, seed: int, variant: Variant, head: int) -> tuple[FloatArray, float]:
    """Return the embeddings of all tiles by one head, and the CPU seconds that training it took."""
    known, learner = known_after(archive, bits, seed), learner_of(archive, seed, variant)
    learner = dataclasses.replace(learner, seed=seed + 1000 * head)
    start = time.process_time()
    if variant.is_soft:
        params = fit_chances(learner, known)
    else:
        params = learner.fit_classes(known.images, known.groups, weights=known.weights)
    spent = time.process_time() - start
    if known.doubt:
        params = learner.beside_features(params, known.doubt)
    return learner.embed(params, learner.stored_features), spent


def known_after(archive: str, bits: str, seed: int) -> Known:
    """Return what is known after so many answers, or by all class labels."""
    dataset, session, states = answered(archive, seed)
    if bits != "all":
        return believed(session, states[int(bits)])
    tiles = dataset.split.train
    classes = dataset.labels[tiles]
    return Known(tiles, classes, None, np.eye(classes.max() + 1, dtype=np.float32)[classes], 0.0)


def believed(session: BeliefSession, beliefs: Beliefs) -> Known:
    """Return what a run would train on, with the chances of all groups."""
    images, groups, weights = training_groups(session, beliefs)
    graph, settings = session.graph_of(beliefs), BeliefSettings()
    belief = settled_groups(graph, beliefs)[1]
    reached = spread(graph, beliefs, settings, 30)
    chances = membership(reached, settings) * np.exp(reached.evidence)
    chances /= np.maximum(chances.sum(axis=1, keepdims=True), 1e-20)
    settled = np.flatnonzero(beliefs.groups != OPEN)
    # A settled tile is as sure as it is believed to be; the rest may be any other group.
    rest = (1 - belief[settled, None]) / max(1, beliefs.num_groups - 1)
    is_own = np.eye(beliefs.num_groups, dtype=bool)[beliefs.groups[settled]]
    chances[settled] = np.where(is_own, belief[settled, None], rest)
    rows = np.searchsorted(session.tiles, images)
    return Known(images, groups, weights, chances[rows].astype(np.float32), mean_doubt(session, beliefs))


def fit_chances(learner: FrozenLearner, known: Known) -> HeadParams:
    """Train on chances of groups: two tiles are positives as far as they are likely to be of one group."""
    rng, steps = np.random.default_rng(learner.seed), learner.num_steps
    if known.weights is None:
        rows = draw_image_batches(rng, len(known.images), num_steps=steps, batch_size=learner.batch_size)
    else:
        numbers = np.arange(len(known.images), dtype=np.int32)
        rows = draw_weighted_group_batches(
            rng, numbers, known.groups, known.weights, num_steps=steps, batch_size=learner.batch_size
        ).images
    return fit(
        FrozenLoss(soft_objective, learner.settings),
        learner.template(),
        learner.standardised,
        (known.images[rows], known.chances[rows]),
        device_key(learner.seed, 0, Use.NOISE),
        schedule=Schedule(learner.settings.schedule, learner.settings.learning_rate),
        chunk_steps=CHUNK_STEPS,
        use="chances",
    ).params


def soft_objective(
    heads: HeadParams, features: jax.Array, chances: jax.Array, settings: FitSettings
) -> jax.Array:
    """Return InfoNCE whose positives count by the chance that they are of the anchor's group."""
    del settings
    embeddings = SimilarityNetwork().apply({"params": heads.similarity["params"]}, features)
    is_other = ~jnp.eye(len(chances), dtype=bool)
    logits = batch_similarities(jnp.asarray(embeddings), jnp.ones(len(chances), bool)) / 0.1
    alike = jnp.where(is_other, chances @ chances.T, 0.0)
    costs = (alike * (logsumexp_where(logits, is_other)[:, None] - logits)).sum(axis=1)
    return jnp.mean(costs / jnp.maximum(alike.sum(axis=1), 1e-6))


@functools.lru_cache(maxsize=1)
def answered(archive: str, seed: int) -> tuple[Dataset, BeliefSession, dict[int, Beliefs]]:
    """Answer the questions of a run; return the beliefs after each number of them."""
    config = dataclasses.replace(MOBILENET, archive=archive, seed=seed)
    dataset = load_dataset(config)
    learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
    session = open_belief_session(config, dataset, learner)
    oracle, beliefs = ClassOracle(dataset.labels, 0.0, 0.0, seed), session.start
    states = {}
    for bits in range(1, 1009):
        beliefs, pair = ask_next(session, beliefs)
        if pair is not None:
            beliefs = add_answer(session, beliefs, *pair, oracle(*pair))
        states[bits] = beliefs if bits % 168 == 0 else None
    return dataset, session, states


@functools.lru_cache(maxsize=1)
def learner_of(archive: str, seed: int, variant: Variant) -> FrozenLearner:
    """Return a learner on the features of a variant."""
    config = dataclasses.replace(MOBILENET, archive=archive, seed=seed, schedule=variant.schedule)
    dataset = load_dataset(config)
    learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
    several = [view_features(archive, view, side) for view in variant.views for side in variant.sides]
    features = np.mean(several, axis=0, dtype=np.float32)
    if variant.whitened:
        features = whiten(features, dataset.split.train, variant.whitened)
    mean, scale = standardisation(features, dataset.split.train)
    if variant.whitened:
        scale = np.ones_like(scale)  # spreads are as they should be
    return dataclasses.replace(learner, stored_features=features, mean=mean, scale=scale)


@functools.lru_cache(maxsize=20)
def view_features(archive: str, view: int, side: int) -> FloatArray:
    """Return the features of all tiles in one orientation at one side; they are kept in the cache."""
    config = dataclasses.replace(MOBILENET, archive=archive, image_size=side)
    network, tiles = load_network(config), load_dataset(config).archive
    return extract_features(
        tiles if view == 0 else Turned(tiles, view),
        network.backbone,
        network.variables,
        image_size=side,
        weights_digest=network.digest + (f", view {view}" if view else ""),
        cache_dir=default_cache_dir(),
    )


class Turned:
    """An archive, all of its tiles in another orientation."""

    def __init__(self, archive: Archive, view: int):
        self._archive, self._view = archive, view

    def __getattr__(self, name):
        return getattr(self._archive, name)

    def load(self, indices, image_size, resampling="bilinear"):
        """Return the tiles, turned."""
        tiles = self._archive.load(indices, image_size, resampling)
        tiles = tiles[:, :, ::-1] if self._view >= 4 else tiles
        return np.ascontiguousarray(np.rot90(tiles, self._view % 4, axes=(1, 2)))


def whiten(features: FloatArray, rows: np.ndarray, num_directions: int) -> FloatArray:
    """Return features in their principal directions over some rows, each of about unit spread."""
    mean = features[rows].mean(axis=0, dtype=np.float64)
    centred = features - mean[None]
    values, directions = np.linalg.eigh(centred[rows].T @ centred[rows] / len(rows))
    values, directions = values[::-1][:num_directions], directions[:, ::-1][:, :num_directions]
    spreads = np.sqrt((1 - SHRINKAGE) * values + SHRINKAGE * values.mean())
    return (centred @ directions / spreads[None]).astype(np.float32)


if __name__ == "__main__":
    main()
