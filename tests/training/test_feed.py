import os

import jax
import numpy as np
import pytest

from anneal_jax.errors import ArchiveError
from anneal_jax.training import feed as feeds
from anneal_jax.training.feed import HostFeed, ResidentFeed, fits_on_device, make_mesh

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 3), dtype=np.uint8)


def make_feed(kind, num_devices):
    mesh = make_mesh(num_devices)
    if kind == "resident":
        return ResidentFeed(IMAGES, mesh)
    return HostFeed(lambda rows: IMAGES[rows], len(IMAGES), IMAGES.shape[1:], mesh)


@pytest.mark.parametrize("num_devices", [1, 8])
@pytest.mark.parametrize("kind", ["resident", "host"])
def test_blocks_hold_the_tiles_of_their_rows_split_over_the_devices(kind, num_devices):
    rng = np.random.default_rng(1)
    rows = [rng.integers(0, 30, shape).astype(np.int32) for shape in [(16,), (3, 16), (3, 16)]]
    feed = make_feed(kind, num_devices)
    assert feed.num_tiles == 30
    blocks = list(feed.blocks(iter(rows)))
    for chosen, tiles in zip(rows, blocks, strict=True):
        assert tiles.dtype == np.uint8
        np.testing.assert_array_equal(tiles, IMAGES[chosen])
        assert {shard.data.shape[chosen.ndim - 1] for shard in tiles.addressable_shards} == {
            16 // num_devices
        }


def test_the_host_reads_only_what_blocks_name_and_few_of_them_ahead():
    read = []

    def load(rows):
        read.extend(rows.tolist())
        return IMAGES[rows]

    feed = HostFeed(load, len(IMAGES), IMAGES.shape[1:], make_mesh(4))
    blocks = [np.full(8, number, np.int32) for number in range(20)]
    results = feed.blocks(blocks)
    next(results)
    results.close()
    assert set(read) <= set(range(4))  # three ahead
    list(feed.blocks(blocks[5:7]))
    assert sorted(read[-16:]) == [5] * 8 + [6] * 8


def test_a_tile_that_cannot_be_read_is_reported_in_its_place():
    def load(rows):
        if 9 in rows:
            raise ArchiveError("tile 9 has changed")
        return IMAGES[rows]

    results = HostFeed(load, len(IMAGES), IMAGES.shape[1:], make_mesh(1)).blocks(np.arange(30)[:, None])
    for number in range(9):
        np.testing.assert_array_equal(next(results)[0], IMAGES[number])
    with pytest.raises(ArchiveError, match="tile 9 has changed"):
        next(results)


def test_cpu_cores_of_one_process_are_one_device_unless_set_otherwise():
    assert make_mesh().size == 1
    assert make_mesh(8).size == jax.device_count() == 8


def test_an_archive_is_resident_up_to_a_share_of_the_device(monkeypatch):
    class Device:
        def memory_stats(self):
            return {"bytes_limit": 1000}

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert fits_on_device(memory // 5) and not fits_on_device(memory)  # a CPU tells no limit
    monkeypatch.setattr(feeds.jax, "local_devices", lambda: [Device()])
    assert fits_on_device(250)
    assert not fits_on_device(251)
