"""Graphs for tests: of rows (first, second, 1 or 0), or of what a store may train on."""

from anneal_jax.pairs.answer_graph import AnswerGraph
from anneal_jax.types import Answer


def graph_of(rows, transitive="closure"):
    """Return the graph of rows, which get their places as ids."""
    graph = AnswerGraph(transitive)
    for answer_id, (first, second, label) in enumerate(rows):
        graph.insert(answer_id, int(first), int(second), is_similar=bool(label))
    return graph


def graph_of_store(store):
    """Return the closure's graph of a store's answers."""
    answered = store.answered(100)
    rows = zip(answered.pair_indices.tolist(), answered.answers.tolist(), strict=True)
    return graph_of([(*pair, answer) for pair, answer in rows if answer != Answer.UNSURE])
