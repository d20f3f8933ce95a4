import errno
import logging
import os
import shutil
import threading

import numpy as np
import pytest

from anneal_jax.data import tile_cache
from anneal_jax.data.archives import open_archive
from anneal_jax.data.tile_cache import open_tiles, tiles_key
from anneal_jax.errors import ArchiveError, ConfigError

NUM_TILES = 11


class FakeArchive:
    """Random tiles of five bands; counts how often each was read, and breaks where it is asked to."""

    spec, kind = "fake", "image"

    def __init__(self, breaks_at=None):
        rng = np.random.default_rng(0)
        self.tiles = rng.integers(0, 256, (NUM_TILES, 6, 6, 5), dtype=np.uint8)
        self.ids = [str(row) for row in range(NUM_TILES)]
        self.reads = np.zeros(NUM_TILES, int)
        self.breaks_at = breaks_at

    def load(self, indices, image_size, resampling="bilinear"):
        if self.breaks_at in list(indices):
            raise KeyboardInterrupt
        np.add.at(self.reads, indices, 1)
        return self.tiles[indices, :image_size, :image_size]

    def digests(self):
        return self.tiles.reshape(NUM_TILES, -1)[:, :32].copy()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(tile_cache, "_TILES_AT_ONCE", 2)


@pytest.fixture
def archive():
    return FakeArchive()


def test_tiles_are_those_of_the_archive_decoded_once_and_shared(archive, tmp_path):
    folder = tmp_path / "new"
    cached = open_tiles(archive, 4, cache_dir=folder)
    rows = [3, 0, 10, 3]
    np.testing.assert_array_equal(cached.load(rows), archive.tiles[rows, :4, :4])
    assert cached.shape == (NUM_TILES, 4, 4, 5)
    assert cached.load([]).shape == (0, 4, 4, 5)
    (path,) = folder.iterdir()
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), archive.tiles[:, :4, :4])
    second = FakeArchive()
    np.testing.assert_array_equal(open_tiles(second, 4, cache_dir=folder).load([5]), cached.load([5]))
    assert second.reads.sum() == 1  # the first tile, whose bands are counted
    with pytest.raises(IndexError, match="outside the archive's 11 tiles"):
        cached.load([NUM_TILES])


def test_a_real_archive_and_what_a_key_depends_on(tmp_path):
    digits = open_archive("digits")
    cached = open_tiles(digits, 12, "bicubic", cache_dir=tmp_path)
    np.testing.assert_array_equal(cached.load([7, 1796]), digits.load([7, 1796], 12, "bicubic"))
    other = FakeArchive()
    other.tiles[0, 0, 0, 0] ^= 1
    keys = [
        tiles_key(FakeArchive(), 4, "bilinear"),
        tiles_key(FakeArchive(), 5, "bilinear"),
        tiles_key(FakeArchive(), 4, "bicubic"),
        tiles_key(other, 4, "bilinear"),
    ]
    assert len(set(keys)) == len(keys)


def test_a_break_loses_at_most_the_block_it_came_in(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        open_tiles(FakeArchive(breaks_at=7), 4, cache_dir=tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".unfinished"]
    archive = FakeArchive()
    cached = open_tiles(archive, 4, cache_dir=tmp_path)
    np.testing.assert_array_equal(cached.load(range(NUM_TILES)), archive.tiles[:, :4, :4])
    assert archive.reads.tolist() == [1] + [0] * 5 + [1] * 5  # the first again, for its bands
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]


def test_runs_at_the_same_time_decode_each_tile_once(archive, tmp_path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(open_tiles(archive, 4, cache_dir=tmp_path)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert archive.reads.tolist() == [5] + [1] * 10  # the first by each, for its bands
    for cached in found:
        np.testing.assert_array_equal(cached.load(range(NUM_TILES)), archive.tiles[:, :4, :4])
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]


@pytest.mark.parametrize("damage", ["shorter", "longer", "empty", "another shape"])
def test_a_file_of_another_size_is_made_anew(archive, tmp_path, damage):
    path = open_tiles(archive, 4, cache_dir=tmp_path).path
    content = path.read_bytes()
    changed = {
        "shorter": content[:-9],
        "longer": content + b"x",
        "empty": b"",
        "another shape": content.replace(b"(11, 4, 4, 5)", b"(11, 4, 5, 4)"),
    }[damage]
    assert changed != content
    path.write_bytes(changed)
    cached = open_tiles(archive, 4, cache_dir=tmp_path)
    assert path.read_bytes() == content
    np.testing.assert_array_equal(cached.load([4]), archive.tiles[[4], :4, :4])


def test_a_flipped_bit_is_noticed_and_the_tile_decoded_again(archive, tmp_path, caplog):
    path = open_tiles(archive, 4, cache_dir=tmp_path).path
    content = bytearray(path.read_bytes())
    content[content.index(archive.tiles[6, :4, :4].tobytes()) + 3] ^= 16
    path.write_bytes(content)
    cached = open_tiles(archive, 4, cache_dir=tmp_path)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(cached.load([5, 6]), archive.tiles[[5, 6], :4, :4])
    assert "1 tiles in" in caplog.text and "damaged" in caplog.text
    assert archive.reads[6] == 2 and archive.reads[5] == 1


def test_a_full_disk_is_one_sentence_that_says_how_much_is_needed(archive, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
    sentence = "does not have the 1.1 kB that the decoded tiles need; set cache_dir=FOLDER"
    with pytest.raises(ConfigError, match=sentence):
        open_tiles(archive, 4, cache_dir=tmp_path)
    monkeypatch.undo()

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=sentence):
        open_tiles(archive, 4, cache_dir=tmp_path)


def test_what_cannot_be_cached_is_refused(archive, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"the decoded tiles, 1.1 kB, cannot be stored in .*file"):
        open_tiles(archive, 4, cache_dir=tmp_path / "file")
    vectors = FakeArchive()
    vectors.kind = "vector"
    with pytest.raises(ArchiveError, match="vectors"):
        open_tiles(vectors, 4, cache_dir=tmp_path)
