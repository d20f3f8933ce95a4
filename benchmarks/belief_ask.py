"""Time what a person waits for between two questions of `belief_ask`.

  python benchmarks/belief_ask.py                      # UC Merced's training tiles; the most asked about
  python benchmarks/belief_ask.py --num_tiles=20000 --json=belief_ask.json
  python benchmarks/belief_ask.py --num_tiles=20000 --profile=true

Tiles are random features in 21 clusters, and the oracle answers truthfully. One line per size: seconds
for the graph, then the median, the 95th percentile and the longest time to learn from an answer and choose
the next question, and the mean processor time of both, which a busy machine hardly changes; last, how often
the graph was learnt again, and the mean and the longest processor time of that. A page does it while the
person looks at a question (annotation/questions/replay.py); a run does it between two questions.
"""

import argparse
import contextlib
import cProfile
import json
import pathlib
import pstats
import time

import numpy as np

from anneal_jax.acquisition.beliefs.choose import next_question
from anneal_jax.acquisition.beliefs.learnt import current_graph, is_due, learn_graph
from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.state import begin
from anneal_jax.acquisition.beliefs.update import add_answer
from anneal_jax.pairs.oracle import ClassOracle

LINE = (
    "{num_tiles:7,d} tiles  graph {graph_s:6.2f} s  {num_questions:5,d} questions  {num_groups:3d} groups  "
    "median {median_ms:6.1f} ms  95% {most_ms:6.1f} ms  longest {longest_ms:6.1f} ms  "
    "processor {cpu_ms:6.1f} ms  learnt {num_learnt:2d} times, processor {learn_ms:6.1f} ms, "
    "longest {longest_learn_ms:6.1f} ms"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num_tiles", default="1680,20000", help="sizes, with commas")
    parser.add_argument("--num_questions", type=int, default=600)
    parser.add_argument("--num_clusters", type=int, default=21)
    parser.add_argument("--profile", default="false", choices=["true", "false"])
    parser.add_argument("--json", type=pathlib.Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    rows = []
    for num_tiles in map(int, arguments.num_tiles.split(",")):
        profiler = cProfile.Profile(builtins=False)
        with profiler if arguments.profile == "true" else contextlib.nullcontext():
            rows.append(measure(num_tiles, arguments.num_clusters, arguments.num_questions))
        print(LINE.format(**rows[-1]), flush=True)
        if arguments.profile == "true":
            pstats.Stats(profiler).sort_stats("cumulative").print_stats(25)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


def measure(num_tiles, num_clusters, num_questions, *, dim=128, spread=1.5):
    """Return the figures of one session; a question's time is that of its answer and the next choice."""
    rng = np.random.default_rng(0)
    labels = rng.integers(num_clusters, size=num_tiles).astype(np.int32)
    features = rng.normal(size=(num_clusters, dim))[labels] + spread * rng.normal(size=(num_tiles, dim))
    start = time.perf_counter()
    graph = neighbour_graph(features.astype(np.float32))
    graph_s = time.perf_counter() - start
    oracle = ClassOracle(labels)
    state, pair = next_question(graph, begin(graph))
    times_s, cpu_s, learn_s = [], [], []
    while pair is not None and len(times_s) < num_questions:
        answer = oracle(*pair)
        start, start_cpu = time.perf_counter(), time.process_time()
        state = add_answer(current_graph(graph, state), state, *pair, answer)
        if is_due(state):
            pause, pause_cpu = time.perf_counter(), time.process_time()
            state = learn_graph(graph, state)
            learn_s.append(time.process_time() - pause_cpu)
            start, start_cpu = start + time.perf_counter() - pause, start_cpu + learn_s[-1]
        state, pair = next_question(current_graph(graph, state), state)
        times_s.append(time.perf_counter() - start)
        cpu_s.append(time.process_time() - start_cpu)
    median_ms, most_ms, longest_ms = 1e3 * np.quantile(times_s, [0.5, 0.95, 1.0])
    return {
        "num_tiles": num_tiles,
        "num_questions": len(times_s),
        "num_groups": state.num_groups,
        "graph_s": graph_s,
        "median_ms": median_ms,
        "most_ms": most_ms,
        "longest_ms": longest_ms,
        "cpu_ms": 1e3 * np.mean(cpu_s),
        "num_learnt": len(learn_s),
        "learn_ms": 1e3 * np.mean(learn_s or [0]),
        "longest_learn_ms": 1e3 * max(learn_s, default=0),
    }


if __name__ == "__main__":
    main()
