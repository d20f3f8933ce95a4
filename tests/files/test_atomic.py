import os

import numpy as np
import pytest

from anneal_jax.errors import WorkdirError
from anneal_jax.files import atomic


def _names(folder):
    return [path.name for path in folder.iterdir()]


def test_text_and_bytes_are_replaced_whole_and_nothing_else_is_left(tmp_path):
    target = tmp_path / "note.txt"
    atomic.write_text(target, "long old text")
    atomic.write_text(target, "Grüße\n")
    assert target.read_bytes() == "Grüße\n".encode()
    atomic.write_bytes(target, b"\x00\xff\r\n")
    assert target.read_bytes() == b"\x00\xff\r\n"
    assert _names(tmp_path) == ["note.txt"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failing_writer_leaves_the_old_file_and_no_temporary_one(tmp_path, failure):
    target = tmp_path / "note.txt"
    atomic.write_text(target, "old")
    with pytest.raises(failure), atomic.replacing(target) as temporary:
        temporary.write_text("half")
        raise failure
    assert target.read_text() == "old"
    assert _names(tmp_path) == ["note.txt"]


def test_the_old_file_stands_until_the_writer_has_ended(tmp_path):
    target = tmp_path / "note.txt"
    atomic.write_text(target, "old")
    with atomic.replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == target.parent
    assert target.read_text() == "new"


def test_the_suffix_is_kept_for_writers_that_append_their_own(tmp_path):
    with atomic.replacing(tmp_path / "features.npz") as temporary:
        np.savez(temporary, x=np.arange(3))
    assert _names(tmp_path) == ["features.npz"]


def test_file_then_folder_are_flushed(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda fd: flushed.append(os.fstat(fd).st_ino))
    atomic.write_text(tmp_path / "note.txt", "x")
    assert flushed == [(tmp_path / "note.txt").stat().st_ino, tmp_path.stat().st_ino]


def test_two_writers_of_one_path_do_not_share_a_temporary_file(tmp_path):
    target = tmp_path / "note.txt"
    with atomic.replacing(target) as first, atomic.replacing(target) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"


def test_the_usual_permissions_apply(tmp_path):
    atomic.write_text(tmp_path / "atomic", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(WorkdirError, match=r"absent/note\.txt: its folder does not exist"):
        atomic.write_text(tmp_path / "absent" / "note.txt", "x")


def test_a_folder_in_the_way_is_named(tmp_path):
    with pytest.raises(WorkdirError, match="a folder has that name"):
        atomic.write_text(tmp_path, "x")
