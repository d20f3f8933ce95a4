"""The forecast of what the next hundred answers bring: what it is, and how often it came true."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.acquisition.beliefs.judging import num_moved
from anneal_jax.annotation.learning.forecast import MIN_GAIN, USUAL, expected_gain, progress
from tests.conftest import ROOT
from tests.reference import beliefs as twin

ROW = {"set_id": 2, "trained_on": 200, "doubt": 0.2, "num_moved": 39, "num_tiles": 1_000}


def measured():
    """Return (archive, way of asking and seed, curve row, gained) for each kept case."""
    cases = []
    for text in (ROOT / "docs/measured/forecast.jsonl").read_text(encoding="utf-8").splitlines():
        kept = json.loads(text)
        figures = kept["answers_doubt_moved_right"]
        for (count, doubt, moved, right), (*_, later) in itertools.pairwise(figures):
            row = {"set_id": 1, "trained_on": count, "doubt": doubt, "num_moved": moved}
            cases.append(
                (
                    kept["archive"],
                    (kept["asks"], kept["seed"]),
                    row | {"num_tiles": kept["num_tiles"]},
                    later - right,
                )
            )
    return cases


@pytest.mark.parametrize("asked", [("pairs", 100), ("pairs", 101), ("pairs", 102), ("mixed", 102)])
def test_the_interval_holds_about_four_times_out_of_five(asked):
    """In the cases that it was chosen from: it was widened in view of the mixed ones."""
    cases = [case for case in measured() if case[1] == asked]
    assert len(cases) > 100
    holds, expected, gained = {}, 0.0, 0.0
    for archive, _, row, gain in cases:
        found = expected_gain([row], 1)
        assert found is not None
        holds.setdefault(archive, []).append(found.least <= gain + 1e-9 and gain <= found.most + 1e-9)
        expected, gained = expected + found.expected, gained + gain
    assert 0.7 < np.mean([held for each in holds.values() for held in each]) < 0.95
    assert min(np.mean(each) for each in holds.values() if len(each) >= 8) >= 0.6
    assert 1 / 1.5 < expected / gained < 1.5


@given(st.integers(0, 3_000), st.floats(0, 1), st.integers(3_000, 20_000))
def test_the_forecast_matches_its_twin(moved, doubt, tiles):
    found = expected_gain([ROW | {"doubt": doubt, "num_moved": moved, "num_tiles": tiles}], 2)
    assert found == pytest.approx(twin.gain(doubt, moved, tiles))
    assert 0 <= found.least <= found.expected <= found.most <= 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40))
def test_the_tiles_that_moved_match_their_twin(pairs):
    before, after = np.array(pairs, np.int32).T
    assert num_moved(before, after) == twin.num_moved(before.tolist(), after.tolist())
    assert num_moved(before, (7 * after + 3).astype(np.int32)) == num_moved(before, after)
    assert num_moved(before, before) == 0


def test_the_forecast_is_that_of_the_last_model_of_the_set():
    late = ROW | {"trained_on": 500, "num_moved": 9}
    assert expected_gain([], 2) is None
    assert expected_gain([ROW], 2).expected == pytest.approx(0.026)
    assert expected_gain([ROW, late], 2).expected == pytest.approx(0.0065)
    assert expected_gain([ROW, late], 3) is None
    assert expected_gain([ROW | {"trained_on": 99}], 2) is None
    assert expected_gain([ROW | {"doubt": 0.01}], 2).expected == pytest.approx(
        0.0039
    )  # not more than is wrong
    assert expected_gain([ROW | {"num_tiles": 0}], 2) is None
    older = {"set_id": 2, "trained_on": 500, "doubt": 0.4}
    assert expected_gain([ROW, older, late | {"num_moved": None}], 2) == expected_gain([ROW], 2)


def test_the_bar_is_full_where_the_expected_gain_is_small():
    assert progress([ROW], 2, 0) == progress([], 2, 200) == USUAL
    found = progress([ROW], 2, 200)
    assert found.is_forecast and 200 <= found.least < found.aim < found.most
    over = progress([ROW | {"num_moved": 1}], 2, 200)
    assert over.most <= 200 and expected_gain([ROW | {"num_moved": 1}], 2).most < MIN_GAIN
