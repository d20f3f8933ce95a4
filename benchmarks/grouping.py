"""Count the tiles that a batch encodes for each pair: grouped, in plain batches, and by two towers.

  python benchmarks/grouping.py [--json=FILE]

The pairs are of 1,680 tiles in 21 classes, as in UC Merced's training split. Nothing is trained. Times are
the CPU time of drawing.
"""

import argparse
import json
import pathlib
import time

import numpy as np

from anneal_jax.pairs.canonical import agreed
from anneal_jax.pairs.drawing import draw_class_balanced_pairs
from anneal_jax.pairs.transitive import expand_one_step
from anneal_jax.training.learner import TrainingPairs
from anneal_jax.training.sampling import draw_pair_batches
from anneal_jax.training.tile_batches import draw_pair_tiles, pair_shape

NUM_TILES, NUM_CLASSES, BATCH_SIZE, EPOCHS = 1680, 21, 128, 4
CLASSES = np.arange(NUM_TILES) % NUM_CLASSES


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path)
    path = parser.parse_args().json
    results = {name: measure(pairs) for name, pairs in cases().items()}
    for name, row in results.items():
        print(name, *(f"{key} {value:.3g}" for key, value in row.items()), sep="  ")
    if path:
        path.write_text(json.dumps(results, indent=2) + "\n")


def cases():
    rng = np.random.default_rng(0)
    first = draw_class_balanced_pairs(rng, CLASSES, fraction=0.05, num_similar=4, num_dissimilar=4)
    more = labelled(np.concatenate([first, by_chance(rng, 2016)]))
    derived = expand_one_step(*agreed(*more[:2], NUM_TILES), NUM_TILES)
    followed = TrainingPairs(
        np.concatenate([more.pair_indices, derived.pair_indices]),
        np.concatenate([more.labels, derived.pair_labels]),
    )
    return {
        "first round": labelled(first),
        "and 2016 by chance": more,
        "and what follows": followed,
        "672 by chance": labelled(by_chance(rng, 672)),
    }


def by_chance(rng, num_pairs):
    pairs = np.sort(rng.integers(0, NUM_TILES, (num_pairs, 2)), axis=1).astype(np.int32)
    return pairs[pairs[:, 0] < pairs[:, 1]]


def labelled(pairs):
    return TrainingPairs(pairs, (CLASSES[pairs[:, 0]] == CLASSES[pairs[:, 1]]).astype(np.int8))


def measure(pairs):
    """Return the tiles encoded for each pair, including padding, and the CPU time of drawing."""
    shape = pair_shape(BATCH_SIZE, num_devices=1)
    start_s = time.process_time()
    batches = list(draw_pair_tiles(np.random.default_rng(0), pairs, shape, epochs=EPOCHS, oversample=True))
    spent_s = time.process_time() - start_s
    num_drawn = sum(np.count_nonzero(timed.batch.weights) for timed in batches)
    plain = draw_pair_batches(
        np.random.default_rng(0),
        pairs.pair_indices,
        pairs.labels,
        num_steps=len(batches),
        batch_size=BATCH_SIZE,
    )
    return {
        "grouped": len(batches) * shape.num_tiles / num_drawn,
        "plain": np.mean([len(np.unique(batch)) for batch in plain.pair_indices]) / BATCH_SIZE,
        "two towers": 2.0,
        "us per pair": 1e6 * spent_s / num_drawn,
    }


if __name__ == "__main__":
    main()
