"""Does a trained tail of the network beat frozen heads that see the same turned tiles? All class labels.

  python benchmarks/tail.py --backbone=efficientnet_lite0
  python benchmarks/tail.py --backbone=mobilenet_v2 --side=128 --seeds=100,101,102 --steps=300

Each tile is encoded once in eight orientations. The features train the heads, and the maps before the last
block train heads, last block and last convolution together, for the same steps of the same tiles, by
InfoNCE, Adam with a cosine to 0: 1e-3 for the heads, --tail_rate times as much for the tail. All are
searched by the tile as it is. mAP@5 of held-out queries over min(k, R); the last column is paired by seed,
mean and half of the 95% t interval. Each seed is one JSON line, which a second call does not compute again.
"""

import argparse
import functools
import json
import pathlib
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from kept_rows import kept_row
from paired import interval

from anneal_jax.config import ExperimentConfig
from anneal_jax.evaluation.retrieval_quality import evaluate_retrieval
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.models.backbones import Backbone
from anneal_jax.models.inverted_residual import InvertedResidual, blocks_of
from anneal_jax.seeds import Use, device_key, host_rng
from anneal_jax.training.features import standardisation
from anneal_jax.training.frozen import FrozenLoss, drop
from anneal_jax.training.head_fit import fit
from anneal_jax.training.head_steps import FitSettings, embed_features, group_objective, init_heads
from anneal_jax.training.learner import standardise
from anneal_jax.training.network import load_network
from anneal_jax.training.optimiser import Schedule
from anneal_jax.training.sampling import draw_group_batches

BACKBONES = {
    "mobilenet_v2": "../shared/weights/mobilenet_v2_1.0_224_imagenet.npz",
    "efficientnet_lite0": "package",
}
NUM_VIEWS, BATCH_TILES, ENCODED_AT_ONCE = 8, 128, 12
SETTINGS = FitSettings(schedule="cosine")
WAYS = ("heads, one view", "heads, eight views", "tail, eight views")


class Tail(NamedTuple):
    """What follows the cached maps: the last block, the last convolution, and the mean.

    Attributes:
      backbone: the network.
    """

    backbone: Backbone

    def __call__(self, params: Any, maps: jax.Array) -> jax.Array:
        """Return features float32[B, F] of maps float32[B, H, W, C]."""
        *_, block = blocks_of(self.backbone.network.stages)
        hidden = InvertedResidual(block, jnp.float32, None).apply({"params": params[block.name]}, maps)
        head = params["head"]
        return jnp.mean(jax.nn.relu6(hidden @ head["kernel"] + head["bias"]), axis=(1, 2))

    def params_of(self, variables: Any) -> Any:
        """Return its part of the network's parameters."""
        *_, block = blocks_of(self.backbone.network.stages)
        return {name: variables["params"][name] for name in (block.name, "head")}


class TailLoss(NamedTuple):
    """The heads' loss on features that the tail makes of cached maps; a `Loss`.

    Attributes:
      tail: the tail.
      rate: its learning rate, as a share of the heads'. Adam takes steps of one length whatever the
        gradient's, so a tail that is moved by this share of what is learnt has this rate.
    """

    tail: Tail
    rate: float

    def __call__(self, params: Any, constants: Any, batch: Any, key: jax.Array) -> jax.Array:
        """Return the loss of a batch (rows, groups); constants are (maps, start, mean, scale)."""
        maps, start, mean, scale = constants
        rows, groups = batch
        features = self.tail(moved(start, params["moves"], self.rate), maps[rows].astype(jnp.float32))
        visible = drop(key, standardise(features, mean, scale), SETTINGS.feature_dropout)
        return group_objective(params["heads"], visible, groups, SETTINGS)


def moved(start, moves, rate):
    """Return parameters that were moved."""
    return jax.tree.map(lambda one, move: one + rate * move, start, moves)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archive", default="folder:../shared/data/ucm")
    parser.add_argument("--backbone", default="mobilenet_v2", choices=list(BACKBONES))
    parser.add_argument("--side", type=int, default=128, help="in pixels")
    parser.add_argument("--seeds", default="100,101,102")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--tail_rate", type=float, default=0.1)
    parser.add_argument("--rows", type=pathlib.Path, default=pathlib.Path("docs/measured/tail.jsonl"))
    arguments = parser.parse_args()
    names = ("archive", "backbone", "side", "steps", "tail_rate")
    settings = {name: getattr(arguments, name) for name in names}
    rows = []
    for seed in map(int, arguments.seeds.split(",")):
        name = settings | {"seed": seed}
        rows.append(kept_row(arguments.rows, name, functools.partial(one_seed, arguments, seed)))
        print(json.dumps(rows[-1]), flush=True)
    print(report(rows))


def report(rows):
    """Return a table with a line for each way."""
    lines = ["| trained | mAP@5 | CPU s of a fit | less the control |", "|---|---|---|---|"]
    control = np.array([row[WAYS[1]] for row in rows])
    for way in WAYS:
        found, spent = (np.array([row[name] for row in rows]) for name in (way, f"{way}, s"))
        each = ", ".join(f"{one:.3f}" for one in found)
        less = interval(found - control, "+") if len(rows) > 1 else f"{found[0] - control[0]:+.3f}"
        lines.append(f"| {way} | {each} | {spent.mean():.0f} | {'' if way == WAYS[1] else less} |")
    return "\n".join(lines)


def one_seed(arguments, seed):
    """Train the three ways; return what each finds."""
    config = config_of(arguments.archive, arguments.backbone, arguments.side, seed)
    dataset, network = load_dataset(config), load_network(config)
    maps = maps_of(arguments.archive, arguments.backbone, arguments.side)
    tail, num_tiles = Tail(network.backbone), len(dataset.labels)
    start = tail.params_of(network.variables)
    features = features_of(tail, start, maps)
    mean, scale = standardisation(features[:num_tiles], dataset.split.train)
    tiles = dataset.split.train
    rng = host_rng(seed, 0, Use.BATCHES)
    rows, groups = draw_group_batches(
        rng, tiles, dataset.labels[tiles], num_steps=arguments.steps, batch_size=BATCH_TILES
    )
    turned = rows + num_tiles * rng.integers(NUM_VIEWS, size=rows.shape, dtype=np.int32)
    heads = init_heads(device_key(seed, 0, Use.WEIGHTS), len(mean), with_classifier=False)
    standard, frozen = standardise(features, mean, scale), FrozenLoss(group_objective, SETTINGS)
    learning = {"heads": heads, "moves": jax.tree.map(jnp.zeros_like, start)}
    fits = {
        WAYS[0]: (frozen, heads, standard, (rows, groups)),
        WAYS[1]: (frozen, heads, standard, (turned, groups)),
        WAYS[2]: (
            TailLoss(tail, arguments.tail_rate),
            learning,
            (maps, start, mean, scale),
            (turned, groups),
        ),
    }
    row = {}
    for way, (loss, params, constants, batches) in fits.items():
        begun = time.process_time()
        learnt = fitted(loss, params, constants, batches, seed)
        row[f"{way}, s"] = round(time.process_time() - begun, 1)
        found = features[:num_tiles]
        if way == WAYS[2]:
            found = features_of(tail, moved(start, learnt["moves"], arguments.tail_rate), maps[:num_tiles])
            learnt = learnt["heads"]
        vectors = embed_features(learnt.similarity, standardise(found, mean, scale))
        quality = evaluate_retrieval(np.asarray(vectors), dataset.labels, dataset.split)
        row[way] = quality.mean_average_precision
    return row


def fitted(loss, params, constants, batches, seed):
    """Return what is learnt."""
    schedule = Schedule(SETTINGS.schedule, SETTINGS.learning_rate)
    key = device_key(seed, 0, Use.NOISE)
    return fit(loss, params, constants, batches, key, schedule=schedule, chunk_steps=10, use="train").params


def config_of(archive, backbone, side, seed):
    """Return the settings of a network on an archive."""
    return ExperimentConfig(
        archive=archive, backbone=backbone, pretrained=BACKBONES[backbone], image_size=side, seed=seed
    )


@functools.lru_cache(maxsize=1)
def maps_of(archive: str, backbone: str, side: int) -> np.ndarray:
    """Return the maps float16[8 N, H, W, C] before the last block, by orientation, then tile."""
    config = config_of(archive, backbone, side, 0)
    network, tiles = load_network(config), load_dataset(config).archive
    *_, before, _ = (block.name for block in blocks_of(network.backbone.network.stages))
    images = tiles.load(np.arange(len(tiles.ids)), side, network.backbone.resampling)

    @jax.jit
    def encode(batch):
        mean, spread = (jnp.asarray(values) for values in (network.backbone.mean, network.backbone.spread))
        _, kept = network.backbone.network.apply(
            network.variables,
            (batch.astype(jnp.float32) - mean) / spread,
            capture_intermediates=lambda module, _: module.name == before,
            mutable=["intermediates"],
        )
        return kept["intermediates"][before]["__call__"][0].astype(jnp.float16)

    maps = []
    for view in range(NUM_VIEWS):
        seen = np.rot90(images[:, :, ::-1] if view >= 4 else images, view % 4, axes=(1, 2))
        batches = (seen[at : at + ENCODED_AT_ONCE] for at in range(0, len(seen), ENCODED_AT_ONCE))
        maps += [np.asarray(encode(batch)) for batch in batches]
    return np.concatenate(maps)


def features_of(tail: Tail, params: Any, maps: np.ndarray) -> np.ndarray:
    """Return the features float32[M, F] of maps."""

    @jax.jit
    def apply(params, block):
        return tail(params, block)

    blocks = (maps[at : at + 100].astype(np.float32) for at in range(0, len(maps), 100))
    return np.concatenate([np.asarray(apply(params, block)) for block in blocks])


if __name__ == "__main__":
    main()
