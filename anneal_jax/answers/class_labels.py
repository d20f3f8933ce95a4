"""Class labels as answers: tiles of the same class are similar, tiles of different classes are not."""

import itertools
import math

import numpy as np

from anneal_jax.answers.reading import AnswerRecord
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.types import Answer, IntArray


def give_labels(store: AnswerStore, labels: IntArray, *, annotator: str, source: str) -> int:
    """Store class labels as groups, at log2 C bits per label for C classes.

    Each tile is stored as similar to the first tile of its class, and these first tiles as dissimilar to
    each other. With `transitive=closure` this implies every pair of labelled tiles, with `one_step` all
    pairs within a class. The answers that separate the first tiles also carry the cost of their own labels,
    so n labels cost n log2 C.

    Args:
      store: destination; its current set.
      labels: int32[N], class of each tile of the archive, -1 if unknown.
      annotator: name of the person who labelled.
      source: name of the labels' file. Storing the same source in the same set again only adds new labels.

    Returns:
      Number of labels.

    Raises:
      StorageFullError, StoreError: as `AnswerStore.give`.
    """
    earlier = [record for record in store.standing() if record.kind == "label" and record.source == source]
    order = np.concatenate([_in_order(earlier, labels), np.arange(len(labels))])
    classes, places = np.unique(labels[order], return_index=True)
    is_class = classes >= 0
    founder_of = dict(zip(classes[is_class].tolist(), order[places[is_class]].tolist(), strict=True))
    bits = math.log2(max(1, len(founder_of)))
    similar = [
        (founder_of[label], tile)
        for tile, label in enumerate(labels.tolist())
        if label >= 0 and founder_of[label] != tile
    ]
    apart = list(itertools.combinations(founder_of.values(), 2))
    apart_bits = bits * len(founder_of) / max(1, len(apart))
    name = f"{source}, set {store.present_set()}"

    def given(first: int, second: int, answer: Answer, cost: float) -> Given:
        key = f"{name}: {first}-{second} {answer.name.lower()}"
        return Given(first, second, answer, annotator, "label", key, bits=cost, source=source)

    store.give(
        [given(*pair, Answer.SIMILAR, bits) for pair in similar]
        + [given(*pair, Answer.DISSIMILAR, apart_bits) for pair in apart]
    )
    return int(np.count_nonzero(labels >= 0))


def _in_order(earlier: list[AnswerRecord], labels: IntArray) -> IntArray:
    """Return previously labelled tiles first, so that a class keeps its first tile when the file grows."""
    tiles = {tile for record in earlier for tile in (record.first, record.second)}
    return np.array(sorted(tile for tile in tiles if labels[tile] >= 0), np.int32)
