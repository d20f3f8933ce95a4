"""Time the answer graph, and measure what wrong answers do to what it derives.

  python benchmarks/answer_graph.py --what=speed    # 100,000 answers over 1,000,000 tiles
  python benchmarks/answer_graph.py --what=noise    # how many derived pairs are wrong, by rule

`speed` prints milliseconds per insert and per retraction (p50, p99, max; `cpu` leaves out the time in
which other programs ran), of one count of the derived pairs, and the memory the graph grew by. Shapes:

- `classes`: 1,000 classes, half of the answers similar;
- `ring`: one group, all of which a retraction searches, and which stays connected;
- `path`: one group that a retraction cuts in two;
- `apart`: two hubs, each with dissimilar answers to 25,000 tiles, joined and separated again.

`noise` answers pairs of 21 classes of 80 tiles, a share of them wrongly. A person who sees a contradiction
would correct some of these; here nobody does. `wrong` is the share of derived pairs with the wrong
label. `unguarded` is the closure as if "dissimilar" answers inside a group had not been given.
"""

import argparse
import gc
import itertools
import json
import pathlib
import time
import tracemalloc

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from anneal_jax.pairs.answer_graph import AnswerGraph
from anneal_jax.pairs.canonical import pair_keys, pairs_of_ranks
from anneal_jax.pairs.closure import expand_closure
from anneal_jax.pairs.transitive import expand_one_step

NUM_TILES, NUM_ANSWERS = 1_000_000, 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", default="speed", choices=["speed", "noise"])
    parser.add_argument("--seeds", type=int, default=5, help="draws of the answers, for noise")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    rows = []
    for row in speed() if arguments.what == "speed" else noise(arguments.seeds):
        rows.append(row)
        print("  ".join(f"{name} {shown(value)}" for name, value in row.items()), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


def shown(value):
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value


# Speed.


def speed():
    """Yield a row per shape of 100,000 answers."""
    for shape, answers in shapes().items():
        graph = AnswerGraph("closure")
        inserts = [timed(graph.insert, key, *pair, is_similar=s) for key, (*pair, s) in enumerate(answers)]
        count_ms = timed(graph.num_derived)[0]
        chosen = np.random.default_rng(1).integers(len(answers), size=100).tolist()
        if shape == "apart":
            chosen = [len(answers) - 1] * 100
        retractions = []
        for key in chosen:  # the graph keeps its size: retracted answers are added again
            retractions.append(timed(graph.retract, key))
            *pair, is_similar = answers[key]
            inserts.append(timed(graph.insert, key, *pair, is_similar=is_similar))
        yield {
            "shape": shape,
            **quantiles("insert", inserts),
            **quantiles("retract", retractions),
            "count_ms": count_ms,
            "memory_mb": memory_mb(answers),
        }


def shapes():
    rng = np.random.default_rng(0)
    tiles = rng.permutation(NUM_TILES)
    classes = np.arange(NUM_TILES) % 1_000
    first = rng.integers(NUM_TILES, size=NUM_ANSWERS)
    other = (first + rng.integers(1, NUM_TILES - 1, size=NUM_ANSWERS)) % NUM_TILES
    alike = (first + 1_000 * rng.integers(1, 1_000, size=NUM_ANSWERS)) % NUM_TILES
    second = np.where(rng.random(NUM_ANSWERS) < 0.5, alike, other)
    in_line = tiles[: NUM_ANSWERS + 1].tolist()
    path = [(one, following, True) for one, following in itertools.pairwise(in_line)]
    hubs = [(hub, tile, False) for tile in in_line[2:25_002] for hub in in_line[:2]]
    arms = [(in_line[place % 2], tile, True) for place, tile in enumerate(in_line[50_000:99_999])]
    return {
        "classes": list(
            zip(first.tolist(), second.tolist(), classes[first] == classes[second], strict=True)
        ),
        "ring": [*path[:-1], (in_line[-2], in_line[0], True)],
        "path": path,
        "apart": [*hubs, *arms, (*in_line[:2], True)],
    }


def timed(function, *arguments, **named):
    """Return the milliseconds of one call, by the clock and of CPU time."""
    start, cpu_start = time.perf_counter(), time.thread_time()
    function(*arguments, **named)
    return 1e3 * (time.perf_counter() - start), 1e3 * (time.thread_time() - cpu_start)


def quantiles(name, times_ms):
    (p50, cpu_p50), (p99, cpu_p99), (most, cpu_most) = np.percentile(
        times_ms, [50, 99, 100], axis=0
    ).tolist()
    wall = {f"{name}_ms_p50": p50, f"{name}_ms_p99": p99, f"{name}_ms_max": most}
    return wall | {
        f"{name}_cpu_ms_p50": cpu_p50,
        f"{name}_cpu_ms_p99": cpu_p99,
        f"{name}_cpu_ms_max": cpu_most,
    }


def memory_mb(answers):
    gc.collect()
    tracemalloc.start()
    graph = AnswerGraph("closure")
    for key, (first, second, is_similar) in enumerate(answers):
        graph.insert(key, first, second, is_similar=is_similar)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return grown / 1e6


# Noise.


def noise(num_seeds, num_answers=2_687, num_classes=21, num_tiles=1_680, similar_share=0.4):
    """Yield a row per share of wrong answers and rule, the mean over seeds."""
    rules = {"one_step": expand_one_step, "closure": expand_closure, "unguarded": unguarded_closure}
    for wrong_share in (0.0, 0.01, 0.02, 0.05, 0.1):
        for name, expand in rules.items():
            found = []
            for seed in range(num_seeds):
                rng = np.random.default_rng(seed)
                classes = rng.permutation(np.arange(num_tiles) % num_classes)
                pairs = some_pairs(rng, classes, num_answers, similar_share)
                labels = is_alike(classes, pairs)
                labels ^= rng.random(len(pairs)) < wrong_share
                derived = expand(pairs, labels.astype(np.int8), num_tiles)
                is_wrong = derived.pair_labels != is_alike(classes, derived.pair_indices)
                found.append([is_wrong.size, is_wrong.mean() if is_wrong.size else 0.0])
            derived_pairs, wrong = np.mean(found, axis=0).tolist()
            yield {"wrong_answers": wrong_share, "rule": name, "derived": derived_pairs, "wrong": wrong}


def is_alike(classes, pairs):
    return classes[pairs[:, 0]] == classes[pairs[:, 1]]


def some_pairs(rng, classes, num_pairs, similar_share):
    """Draw different pairs, about `similar_share` of them alike."""
    ranks = rng.permutation(len(classes) * (len(classes) - 1) // 2)
    pairs = pairs_of_ranks(ranks, len(classes))
    alike = is_alike(classes, pairs)
    num_similar = round(similar_share * num_pairs)
    chosen = np.concatenate([pairs[alike][:num_similar], pairs[~alike][: num_pairs - num_similar]])
    return chosen[np.argsort(pair_keys(chosen, len(classes)))]


def unguarded_closure(pairs, labels, num_images):
    """Drop the "dissimilar" answers whose tiles are connected by "similar" answers."""
    similar = pairs[labels == 1].T
    joins = sparse.coo_array((np.ones(similar.shape[1]), similar), shape=(num_images, num_images))
    group = csgraph.connected_components(joins, directed=False)[1]
    is_kept = (labels == 1) | (group[pairs[:, 0]] != group[pairs[:, 1]])
    return expand_closure(pairs[is_kept], labels[is_kept], num_images)


if __name__ == "__main__":
    main()
