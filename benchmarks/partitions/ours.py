"""This project's ways: the default, and the plain baseline."""

from collections.abc import Iterator

import numpy as np

from anneal_jax.acquisition.beliefs.session import add_answer, ask_next
from anneal_jax.acquisition.beliefs.state import OPEN, settled_groups
from anneal_jax.acquisition.group_ask import group_by_asking
from anneal_jax.experiments.belief_rounds import mean_doubt, training_groups
from partitions.interface import Archive, Ask, Found, root_weights, unit


def belief_ask(archive: Archive, ask: Ask, budgets: list[int]) -> Iterator[Found]:
    """Ask as the library does by default."""
    session = archive.session
    beliefs, places = session.start, {int(tile): place for place, tile in enumerate(session.tiles)}
    for bits in range(1, budgets[-1] + 1):
        beliefs, pair = ask_next(session, beliefs)
        if pair is not None:
            answer = ask(*(places[tile] for tile in pair))
            beliefs = add_answer(session, beliefs, *pair, answer)
        if bits in budgets:
            images, _, drawn = training_groups(session, beliefs)
            weights = np.zeros(len(session.tiles))
            weights[np.searchsorted(session.tiles, images)] = drawn
            groups, _ = settled_groups(session.graph_of(beliefs), beliefs)
            yield Found(bits, groups, beliefs.groups != OPEN, weights, mean_doubt(session, beliefs))


def group_ask(archive: Archive, ask: Ask, budgets: list[int]) -> Iterator[Found]:
    """Ask of random tiles; a tile not asked about belongs to the group of the nearest mean."""
    num_tiles = len(archive.features)
    order = np.random.default_rng(archive.seed).permutation(num_tiles).astype(np.int32)
    found = group_by_asking(order[: budgets[-1] + 1], archive.features, ask)
    for budget in budgets:
        count = max(1, int(np.searchsorted(found.questions, budget, side="right")))
        images, groups = found.images[:count], found.groups[:count]
        sums = np.zeros((groups.max() + 1, archive.features.shape[1]), np.float32)
        np.add.at(sums, groups, archive.features[images])
        nearest = np.argmax(archive.features @ unit(sums).T, axis=1)
        nearest[images] = groups
        is_asked = np.isin(np.arange(num_tiles), images)
        weights = root_weights(nearest) * is_asked
        yield Found(int(found.questions[count - 1]), nearest, is_asked, weights)
