"""Measure search before any answers, for different networks and sizes of tiles.

  python benchmarks/start.py                        # UC Merced, three seeds of the split
  python benchmarks/start.py --sides=64,96,128,160,224 --tile-sides=64,128,256 --per-class=50

The first command prints precision@5 of queries over the searched tiles, by centred features, for the
default start, a random network and MobileNetV2. The second makes tiles of other sizes from the archive's,
resizes them to each side, and prints precision@5 of every tile over all others, and CPU time per tile;
`start.SMALL_SIDE` was chosen by it.
"""

import argparse
import time

import numpy as np

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive
from anneal_jax.data.tiles import squash_tile
from anneal_jax.evaluation.ranking import rank_archive, relevance
from anneal_jax.evaluation.retrieval_quality import CUT_OFF, evaluate_retrieval
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.training.encoding import encode
from anneal_jax.training.factory import make_learner
from anneal_jax.training.learner import centred
from anneal_jax.training.network import load_network
from anneal_jax.training.start import settle_side, settle_start

STARTS = {
    "auto": {},
    "tiny_cnn": {"backbone": "tiny_cnn", "pretrained": "none"},
    "mobilenet_v2": {
        "backbone": "mobilenet_v2",
        "pretrained": "../shared/weights/mobilenet_v2_1.0_224_imagenet.npz",
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archive", default="folder:../shared/data/ucm")
    parser.add_argument("--starts", default=",".join(STARTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sides", default="")
    parser.add_argument("--tile-sides", default="64,128,256")
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--resampling", default="", help="another filter than the network's own")
    arguments = parser.parse_args()
    if arguments.sides:
        compare_sides(arguments)
        return
    for name in arguments.starts.split(","):
        found = [precision_of(arguments.archive, STARTS[name], seed) for seed in range(arguments.seeds)]
        print(f"{name:14s} precision@5 {np.mean(found):.3f} ({', '.join(f'{f:.3f}' for f in found)})")


def precision_of(archive, start, seed):
    """Return precision@5 of the queries of a split, by features alone."""
    config = settle_start(ExperimentConfig(archive=archive, seed=seed, **start))
    dataset = load_dataset(config)
    learner = make_learner(
        settle_side(config, dataset.archive), dataset.archive, dataset.split.train, with_classifier=False
    )
    features = centred(learner.features(None), dataset.split.train)
    return evaluate_retrieval(features, dataset.labels, dataset.split).precision


def compare_sides(arguments):
    """Print a line for each size of tiles and each side that they are resized to."""
    archive = open_archive(arguments.archive)
    labels = np.asarray(archive.labels)
    rows = np.concatenate([np.flatnonzero(labels == c)[: arguments.per_class] for c in np.unique(labels)])
    network = load_network(ExperimentConfig(backbone="efficientnet_lite0", pretrained="package"))
    for tile_side in map(int, arguments.tile_sides.split(",")):
        tiles = archive.load(rows, tile_side)
        for side in map(int, arguments.sides.split(",")):
            resampling = arguments.resampling or network.backbone.resampling
            features, seconds = encoded(network, tiles, side, resampling)
            vectors, names = features - features.mean(axis=0, keepdims=True), range(len(rows))
            ranking = rank_archive(vectors, vectors, CUT_OFF, query_ids=names, archive_ids=names)
            precision = np.mean(relevance(labels[rows], labels[rows], ranking))
            print(
                f"tiles of {tile_side:3d} px at {side:3d} px, {resampling}: precision@5 {precision:.3f}, "
                f"{1000 * seconds:5.1f} ms of CPU per tile",
                flush=True,
            )


def encoded(network, tiles, side, resampling):
    """Return the features of tiles, and the CPU seconds per tile without compilation."""
    encode(network.backbone, network.variables, np.zeros((8, side, side, 3), np.uint8))
    start = time.process_time()
    squashed = np.stack([squash_tile(tile, side, resampling) for tile in tiles])
    features = encode(network.backbone, network.variables, squashed)
    return features, (time.process_time() - start) / len(tiles)


if __name__ == "__main__":
    main()
