"""Moving tiles between groups: what stands afterwards, and that it is taken back as a whole."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal_jax.annotation.groups import act, merged, moved
from anneal_jax.annotation.questions.plan import SILENT, make_plan
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.standing_answers import StandingAnswers
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer
from tests.annotation.driving import TAB
from tests.annotation.test_standing_answers import record

NUM_TILES = 8
PAIRS = list(itertools.combinations(range(NUM_TILES), 2))
YES, NO = Answer.SIMILAR, Answer.DISSIMILAR


def standing_of(said):
    records = [record(number, pair, answer) for number, (pair, answer) in enumerate(said, start=1)]
    return StandingAnswers(records, [f"tile{tile}" for tile in range(NUM_TILES)])


def after(standing, found):
    """Return the standing answers after an act."""
    kept = [
        ((row.first, row.second), row.answer)
        for row in standing.records
        if row.answer_id not in found.retracted
    ]
    said = [(pair, NO) for pair in found.dissimilar] + [(pair, YES) for pair in found.similar]
    return standing_of(kept + said)


def groups(standing):
    return {frozenset(tiles) for tiles in standing.groups() if len(tiles) > 1}


def test_a_tile_goes_to_another_group_by_a_no_and_a_yes():
    standing = standing_of([((0, 1), YES), ((1, 2), YES), ((4, 5), YES), ((2, 4), NO)])
    found = moved(standing, [2], 5)
    assert (found.similar, found.dissimilar) == (((2, 4),), ((0, 2),)) and found.retracted == (2, 4)
    assert groups(after(standing, found)) == {frozenset({0, 1}), frozenset({2, 4, 5})}


def test_what_hung_together_by_the_moved_tile_stays_together_unless_it_was_called_different():
    chain = [((0, 1), YES), ((1, 2), YES), ((4, 5), YES)]
    found = moved(standing_of(chain), [1], 4)
    assert groups(after(standing_of(chain), found)) == {frozenset({0, 2}), frozenset({1, 4, 5})}
    with_no = [*chain, ((0, 2), NO)]
    found = moved(standing_of(with_no), [1], 4)
    assert groups(after(standing_of(with_no), found)) == {frozenset({1, 4, 5})}


def test_a_split_and_a_merge():
    standing = standing_of([((0, 1), YES), ((1, 2), YES), ((2, 3), YES), ((4, 5), YES), ((3, 4), NO)])
    found = moved(standing, [2, 3], None)
    assert groups(after(standing, found)) == {frozenset(g) for g in ((0, 1), (2, 3), (4, 5))}
    assert (found.num_given, found.retracted) == (1, (2,))
    found = merged(standing, [5], 0)
    assert groups(after(standing, found)) == {frozenset(range(6))}
    assert (found.num_given, found.retracted) == (1, (5,))


def test_what_moves_nothing_is_refused():
    standing = standing_of([((0, 1), YES), ((2, 3), YES)])
    for tiles, into in (([], 0), ([0], 1), ([0, 1], None), ([5], None)):
        with pytest.raises(StoreError, match=r"no tile to move|already a group of their own"):
            moved(standing, tiles, into)


SAID = st.lists(st.tuples(st.sampled_from(PAIRS), st.sampled_from([YES, NO])), max_size=14)


@settings(max_examples=150)
@given(
    said=SAID,
    tiles=st.sets(st.integers(0, NUM_TILES - 1), min_size=1),
    into=st.none() | st.integers(0, NUM_TILES - 1),
)
def test_moved_tiles_are_one_group_with_their_target_and_nothing_contradicts_them(said, tiles, into):
    standing = standing_of(said)
    target = set() if into is None else set(standing.group_of(into))
    before = [set(group) for group in standing.groups()]
    try:
        found = moved(standing, tiles, into)
    except StoreError:
        assert tiles <= target or (into is None and tiles in [*before, *({tile} for tile in tiles)])
        return
    now = after(standing, found)
    together = (tiles - target) | target
    assert set(now.group_of(min(together))) == together
    refuted = {(row.first, row.second) for key in now.contradictions() for row in [now.chain(key)[-1]]}
    assert not any(pair[0] in tiles - target or pair[1] in tiles - target for pair in refuted)
    denied = {pair for pair, answer in said if answer == NO}
    for group in before:
        rest = group - together
        parts = {frozenset(now.group_of(tile)) for tile in rest}
        assert set().union(*parts) == rest
        if not any(set(pair) <= rest for pair in denied):
            assert len(parts) <= 1
            for tile in (group & tiles) - target:
                assert all(now.label(*sorted((tile, other))) == 0 for other in rest)


def session_on(folder, said):
    store = AnswerStore(folder / "answers.sqlite", [f"tile{tile}" for tile in range(NUM_TILES)])
    store.set_sentence("Same land use")
    store.give([Given(*pair, answer, "Ada") for pair, answer in said])
    directions = np.eye(NUM_TILES, dtype=np.float32)
    return AnnotationSession(store, directions, np.arange(NUM_TILES), make_plan(directions, seed=0))


@settings(max_examples=25)
@given(said=SAID, tiles=st.sets(st.integers(0, NUM_TILES - 1), min_size=1), into=st.integers(0, 7))
def test_a_session_follows_an_act_and_its_undoing_as_a_new_one_would(said, tiles, into, tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    session = session_on(folder, said)
    session.open_tab(TAB, "Ada", SILENT)
    before = [(row.first, row.second, row.answer) for row in session.standing.records]
    try:
        act(session, TAB, lambda standing: moved(standing, tiles, into), "act-number-1")
    except StoreError:
        return
    expected = groups(session.standing)
    act(session, TAB, lambda standing: moved(standing, tiles, into), "act-number-1")  # a repeated request
    assert groups(session.standing) == expected
    again = session_on(folder, [])
    assert groups(again.standing) == expected
    assert again.answers() == session.answers()
    assert again.counters("")["num_known"] == session.counters("")["num_known"]
    view = session.undo(TAB, "undo-number-1")
    assert view["undone"] is not None
    left = [(row.first, row.second, row.answer) for row in session.standing.records]
    assert sorted(left) == sorted(before)
    assert session_on(folder, []).answers() == session.answers()
