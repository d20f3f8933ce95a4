import json
import signal

import numpy as np
import pytest

from anneal_jax.errors import RetrievalError
from anneal_jax.retrieval import shards
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.index_writer import append_tiles
from tests.launching import run_python
from tests.retrieval.small_index import CARD, DIM, Tiles, embed, flip, vector


def tiles(*ranges, **changes):
    return Tiles(tuple(number for numbers in ranges for number in numbers), **changes)


def assert_holds(folder, numbers):
    """The index has each of these tiles once, with its own vector, class and source."""
    index = open_index(folder)
    ids = index.ids(np.arange(index.num_rows))
    assert sorted(ids) == sorted(tiles(numbers).ids)
    found = [int(tile_id.split()[1]) for tile_id in ids]
    vectors = np.concatenate(index.column("vectors"))
    np.testing.assert_array_equal(vectors, np.stack([vector(n) for n in found]).astype(np.float16))
    assert index.labels(np.arange(len(found))) == [("even", "odd")[n % 2] for n in found]
    return index


def test_every_tile_is_there_once(tmp_path):
    added = append_tiles(tmp_path / "index", tiles(range(23)), embed, CARD, shard_rows=5)
    assert added == (23, 0)
    index = assert_holds(tmp_path / "index", range(23))
    assert [record.num_rows for record in index.shards] == [5, 5, 5, 5, 3]
    assert index.notes == () and index.model == CARD


def test_new_tiles_are_added_and_old_ones_are_not_encoded_again(tmp_path):
    encoded = []

    def counting(archive, rows):
        encoded.extend(archive.ids[row] for row in rows)
        return embed(archive, rows)

    append_tiles(tmp_path, tiles(range(10, 20)), counting, CARD, shard_rows=4)
    added = append_tiles(tmp_path, tiles(range(5, 15), range(30, 33)), counting, CARD, shard_rows=4)
    assert added == (8, 5)
    assert len(encoded) == len(set(encoded)) == 18
    assert_holds(tmp_path, [*range(5, 20), *range(30, 33)])
    assert append_tiles(tmp_path, tiles(range(5, 15)), counting, CARD) == (0, 10)


@pytest.mark.parametrize("stop_at", range(1, 6))
def test_a_call_that_broke_is_gone_on_with(tmp_path, stop_at):
    calls = []

    def breaking(archive, rows):
        calls.append(len(rows))
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return embed(archive, rows)

    with pytest.raises(KeyboardInterrupt):
        append_tiles(tmp_path, tiles(range(23)), breaking, CARD, shard_rows=5)
    if stop_at > 1:
        assert "is incomplete: process 0 has" in open_index(tmp_path).notes[0]
    assert append_tiles(tmp_path, tiles(range(23)), breaking, CARD, shard_rows=5) == (
        23 - 5 * (stop_at - 1),
        5 * (stop_at - 1),
    )
    assert assert_holds(tmp_path, range(23)).notes == ()


KILLED = """
import json, os, signal, sys
from anneal_jax.retrieval.index_writer import append_tiles
from tests.retrieval.small_index import CARD, Tiles, embed
folder, numbers, moment, count = json.loads(sys.argv[1])
calls = [0]
def killing(function):
    def wrapped(*arguments, **named):
        calls[0] += 1
        if calls[0] == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return wrapped
if moment == "flush":
    os.fsync = killing(os.fsync)
else:
    os.rename = killing(os.rename)
    os.replace = killing(os.replace)
append_tiles(folder, Tiles(tuple(numbers)), embed, CARD, shard_rows=5)
print("done")
"""


def killed(folder, numbers, moment, count):
    arguments = json.dumps([str(folder), list(numbers), moment, count])
    return run_python("-c", KILLED, arguments, environment={"XLA_FLAGS": ""})


@pytest.mark.parametrize("count", [3, 12, 21])
def test_kill_9_while_a_file_is_written_loses_nothing_that_was_there(tmp_path, count):
    append_tiles(tmp_path, tiles(range(7)), embed, CARD, shard_rows=5)
    done = killed(tmp_path, range(20), "flush", count)
    assert done.returncode == -signal.SIGKILL, done.stderr
    index = open_index(tmp_path)
    assert set(tiles(range(7)).ids) <= set(index.ids(np.arange(index.num_rows)))
    append_tiles(tmp_path, tiles(range(20)), embed, CARD, shard_rows=5)
    assert_holds(tmp_path, range(20))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    named = {r.file_name(column) for r in open_index(tmp_path).shards for column in r.files}
    assert {path.name for path in tmp_path.iterdir()} == named | {"lock-0", "manifest-0.json"}


def test_processes_share_an_archive_in_any_order(tmp_path):
    archive = tiles(range(23))
    for process in (2, 0):
        append_tiles(tmp_path, archive, embed, CARD, process=process, num_processes=3, shard_rows=4)
    assert "process 1 has not finished" in open_index(tmp_path).notes[0]
    append_tiles(tmp_path, archive, embed, CARD, process=1, num_processes=3, shard_rows=4)
    assert assert_holds(tmp_path, range(23)).notes == ()
    # One process alone adds to what three wrote.
    assert append_tiles(tmp_path, tiles(range(30)), embed, CARD) == (7, 23)
    assert assert_holds(tmp_path, range(30)).notes == ()


def test_more_processes_than_tiles(tmp_path):
    for process in range(5):
        append_tiles(tmp_path, tiles(range(3)), embed, CARD, process=process, num_processes=5)
    assert assert_holds(tmp_path, range(3)).notes == ()


def test_a_process_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(RetrievalError, match="process 3 of 3 does not exist; count from 0"):
        append_tiles(tmp_path / "index", tiles(range(3)), embed, CARD, process=3, num_processes=3)
    assert not (tmp_path / "index").exists()


def test_vectors_of_another_model_or_type_are_refused(tmp_path):
    append_tiles(tmp_path, tiles(range(3)), embed, CARD)
    with pytest.raises(
        RetrievalError, match=r"made by another model \(runs/model, a1a1.*Give a new folder"
    ):
        append_tiles(tmp_path, tiles(range(9)), embed, CARD._replace(fingerprint="b2" * 32))
    with pytest.raises(RetrievalError, match="stores float16; continue with that"):
        append_tiles(tmp_path, tiles(range(9)), embed, CARD._replace(dtype="float32"))
    # Where the model lies now does not matter.
    append_tiles(tmp_path, tiles(range(4)), embed, CARD._replace(workdir="elsewhere"))
    assert_holds(tmp_path, range(4))


def test_a_tile_that_changed_since_is_refused_by_name(tmp_path):
    append_tiles(tmp_path, tiles(range(4)), embed, CARD)

    class Changed(Tiles):
        def digests(self):
            return np.where(np.arange(len(self.numbers))[:, None] == 2, 0, super().digests()).astype(
                np.uint8
            )

    with pytest.raises(RetrievalError, match=r"1 tiles have changed since .* first 'tile 0002 é'"):
        append_tiles(tmp_path, Changed(tuple(range(6))), embed, CARD)


@pytest.mark.parametrize("column", ["ids", "digests"])
def test_what_tells_old_tiles_from_new_is_verified_before_it_is_believed(tmp_path, column):
    append_tiles(tmp_path, tiles(range(4)), embed, CARD)
    flip(tmp_path / f"shard-0-000000.{column}.npy", 140, 3)
    with pytest.raises(RetrievalError, match=rf"{column}.npy is damaged"):
        append_tiles(tmp_path, tiles(range(6)), embed, CARD)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2.0])
def test_a_vector_that_is_not_of_unit_norm_is_refused(tmp_path, bad):
    def embed_badly(archive, rows):
        vectors = embed(archive, rows)
        vectors[3] *= bad
        return vectors

    with pytest.raises(RetrievalError, match="vector 3 of a shard is longer than 1, or not finite"):
        append_tiles(tmp_path, tiles(range(6)), embed_badly, CARD)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("draft")
    with pytest.raises(RetrievalError, match="contains unrelated files"):
        append_tiles(tmp_path, tiles(range(3)), embed, CARD)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_commands_never_write_under_one_number(tmp_path):
    def embed_and_try_again(archive, rows):
        with pytest.raises(RetrievalError, match=r"another command is writing to .* as process 0"):
            append_tiles(tmp_path, archive, embed, CARD)
        append_tiles(tmp_path, archive, embed, CARD, process=1, num_processes=2)
        return embed(archive, rows)

    append_tiles(tmp_path, tiles(range(8)), embed_and_try_again, CARD, num_processes=2, process=0)
    assert_holds(tmp_path, range(8))


def test_a_full_disk_is_one_sentence_and_costs_no_more_than_a_shard(tmp_path, monkeypatch):
    append_tiles(tmp_path, tiles(range(4)), embed, CARD)
    save = np.save

    def full(file, array, **named):
        if array.ndim == 2 and array.dtype == np.float16:
            raise OSError(28, "No space left on device")
        save(file, array, **named)

    monkeypatch.setattr(shards.np, "save", full)
    with pytest.raises(RetrievalError, match=r"cannot write .*vectors.npy \(No space left on device\)"):
        append_tiles(tmp_path, tiles(range(9)), embed, CARD)
    monkeypatch.undo()
    assert open_index(tmp_path).num_rows == 4
    append_tiles(tmp_path, tiles(range(9)), embed, CARD)
    assert_holds(tmp_path, range(9))


def test_memory_holds_a_shard_and_no_more(tmp_path):
    asked = []

    def recording(archive, rows):
        asked.append(len(rows))
        return np.eye(DIM, dtype=np.float32)[np.zeros(len(rows), np.int64)]

    append_tiles(tmp_path, tiles(range(1_000)), recording, CARD, shard_rows=64)
    assert max(asked) == 64 and sum(asked) == 1_000
