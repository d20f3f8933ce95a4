import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.errors import WorkdirError
from anneal_jax.experiments.round_log import append_round, read_rounds, without_times

values = (
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False).filter(math.isfinite)
)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "rounds.jsonl"


def test_a_log_that_does_not_exist_or_is_empty_holds_no_rounds(log):
    assert read_rounds(log) == []
    log.touch()
    assert read_rounds(log) == []


@given(fields=st.lists(st.dictionaries(st.text(), values), max_size=4))
def test_rows_come_back_as_they_were_in_value_and_order(fields, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "rounds.jsonl"
    rows = [{**row, "round_index": index} for index, row in enumerate(fields)]
    for row in rows:
        append_round(log, row)
    read = read_rounds(log)
    assert read == rows
    assert [list(row) for row in read] == [list(row) for row in rows]
    assert len(log.read_bytes().splitlines()) == len(rows) if rows else not log.exists()


def test_numpy_scalars_are_written_as_numbers(log):
    append_round(
        log,
        {"round_index": np.int64(0), "single": np.float32(0.1), "double": np.float64(0.1)},
    )
    assert read_rounds(log) == [{"round_index": 0, "single": float(np.float32(0.1)), "double": 0.1}]


@pytest.mark.parametrize("value", [math.nan, -math.inf, np.float32("nan"), np.float64("inf")])
def test_what_is_no_json_is_refused_by_name_and_the_log_stays(log, value):
    append_round(log, {"round_index": 0})
    with pytest.raises(ValueError, match=r"precision_at_5 is .*: write None"):
        append_round(log, {"round_index": 1, "precision_at_5": value})
    assert read_rounds(log) == [{"round_index": 0}]


def test_a_value_of_no_json_type_is_refused(log):
    with pytest.raises(TypeError, match="neither a number, a text nor None"):
        append_round(log, {"round_index": 0, "bits_spent": object()})


@pytest.mark.parametrize("round_index", [0, 1, 3])
def test_only_the_next_round_may_follow(log, round_index):
    for index in (0, 1):
        append_round(log, {"round_index": index})
    with pytest.raises(ValueError, match=rf"round {round_index} is in the place of round 2"):
        append_round(log, {"round_index": round_index})


def test_a_row_without_its_number_is_refused(log):
    with pytest.raises(ValueError, match="round_index is None"):
        append_round(log, {"bits_spent": 672})
    assert not log.exists()


@pytest.mark.parametrize(
    "damaged",
    [
        b'{"round_index": 1, "bits',
        b"",
        b"\xff\xfe",
        b"[1]",
        b'{"bits_spent": 5}',
        b'{"round_index": 1.0}',
        b'{"round_index": 1, "threshold": NaN}',
        b'{"round_index": 3}',
    ],
)
def test_a_torn_or_edited_line_is_named(log, damaged):
    first = json.dumps({"round_index": 0}).encode()
    log.write_bytes(first + b"\n" + damaged + b"\n")
    with pytest.raises(WorkdirError, match=r"rounds\.jsonl, line 2: .*incomplete or was edited"):
        read_rounds(log)
    with pytest.raises(WorkdirError, match="line 2"):
        append_round(log, {"round_index": 1})


@given(cut=st.integers(min_value=1, max_value=60))
def test_a_cut_file_reads_as_fewer_rounds_or_as_torn_but_never_as_other_rounds(cut, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "rounds.jsonl"
    rows = [{"round_index": index, "bits_spent": 672 + 336 * index} for index in range(2)]
    for row in rows:
        append_round(log, row)
    log.write_bytes(log.read_bytes()[:-cut])
    try:
        read = read_rounds(log)
    except WorkdirError:
        return
    assert read == rows[: len(read)]


def test_runs_are_compared_without_their_times():
    rows = [{"round_index": 0, "train_s": 1.5, "select_s": 0.1, "num_labelled_pairs": 4}]
    assert without_times(rows) == [{"round_index": 0, "num_labelled_pairs": 4}]
    assert rows[0]["train_s"] == 1.5
