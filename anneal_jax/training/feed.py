"""Feeds a fit with tiles: from the device if the archive fits there, else from the host."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import jax
import numpy as np
import numpy.typing as npt
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from anneal_jax.errors import ConfigError
from anneal_jax.training.prefetch import done_ahead
from anneal_jax.types import IntArray

MESH_AXIS = "tiles"

_RESIDENT_SHARE = 0.25
"""Share of a device's memory that an archive may use; parameters and feature maps need the rest."""

_THREADS, _AHEAD = 2, 3


class TileFeed(Protocol):
    """The tiles of an archive, by row, on the devices that train.

    Attributes:
      num_tiles: N, rows of the archive.
      mesh: the devices, along one axis. Each holds its part of the tiles of a batch.
    """

    @property
    def num_tiles(self) -> int: ...
    @property
    def mesh(self) -> Mesh: ...

    def blocks(self, rows: Iterable[IntArray]) -> Iterator[jax.Array]:
        """Yield the tiles of each array of rows, in the order given.

        Rows may be read ahead of the tiles that are yielded, so that the next tiles are loaded early.

        Args:
          rows: int32[..., U] each; U is a multiple of the number of devices. With `jax.distributed` every
            process gives the same rows, and loads those of its own devices only.

        Yields:
          uint8[..., U, H, H, S], its axis of U split over the mesh.

        Raises:
          ArchiveError: a tile cannot be read.
        """
        ...


class ResidentFeed:
    """A `TileFeed` of an archive that is copied to every device once.

    >>> feed = ResidentFeed(np.zeros((5, 2, 2, 3), np.uint8), make_mesh(1))
    >>> [tiles.shape for tiles in feed.blocks([np.array([0, 4]), np.array([[1, 2, 3]])])]
    [(2, 2, 2, 3), (1, 3, 2, 2, 3)]
    """

    def __init__(self, images: npt.NDArray[np.uint8], mesh: Mesh):
        """Copy the archive, uint8[N, H, H, S], to the devices."""
        self.mesh = mesh
        self.num_tiles = len(images)
        self._images = placed(images, NamedSharding(mesh, PartitionSpec()))

    def blocks(self, rows: Iterable[IntArray]) -> Iterator[jax.Array]:
        """Yield tiles, gathered on the devices; see `TileFeed`."""
        for block in rows:
            split = _split_last(self.mesh, block.ndim)
            yield _gather(split, self._images, placed(block, split))


class HostFeed:
    """A `TileFeed` of an archive that does not fit on a device: threads of the host read ahead.

    Each thread loads the tiles of one array of rows and copies them to the devices. The results are those
    of `ResidentFeed`, in the same order. At most `_AHEAD` arrays wait on the devices.

    >>> feed = HostFeed(lambda rows: np.zeros((len(rows), 2, 2, 3), np.uint8), 5, (2, 2, 3), make_mesh(1))
    >>> next(feed.blocks([np.array([0, 4])])).shape
    (2, 2, 2, 3)
    """

    def __init__(
        self,
        load: Callable[[IntArray], npt.NDArray[np.uint8]],
        num_tiles: int,
        tile_shape: tuple[int, ...],
        mesh: Mesh,
    ):
        """Keep the function that loads tiles.

        Args:
          load: returns uint8[B, H, H, S], the tiles of rows int32[B]; called from several threads.
          num_tiles: N, rows of the archive.
          tile_shape: (H, H, S).
          mesh: the devices.
        """
        self.mesh = mesh
        self.num_tiles = num_tiles
        self._load, self._tile_shape = load, tile_shape

    def blocks(self, rows: Iterable[IntArray]) -> Iterator[jax.Array]:
        """Yield tiles, copied from the host; see `TileFeed`."""
        return done_ahead(self._block, rows, num_threads=_THREADS, depth=_AHEAD)

    def _block(self, rows: IntArray) -> jax.Array:
        def part(index: Any) -> npt.NDArray[np.uint8]:
            chosen = rows[index[: rows.ndim]]
            return self._load(chosen.reshape(-1)).reshape(*chosen.shape, *self._tile_shape)

        sharding = _split_last(self.mesh, rows.ndim)
        return jax.make_array_from_callback((*rows.shape, *self._tile_shape), sharding, part)


def make_mesh(num_devices: int = 0) -> Mesh:
    """Return the devices that share a batch.

    Args:
      num_devices: number of devices; 0 uses those of all processes, but only one if they are CPU devices of
        one process, because its cores already share the work of a batch.

    Raises:
      ConfigError: there are fewer devices.
    """
    if num_devices > jax.device_count():
        raise ConfigError(
            f"num_devices={num_devices}, but there are {jax.device_count()}; give fewer, or 0 for all."
        )
    if num_devices == 0:
        is_one_cpu = jax.default_backend() == "cpu" and jax.process_count() == 1
        num_devices = 1 if is_one_cpu else jax.device_count()
    return Mesh(np.array(jax.devices()[:num_devices]), (MESH_AXIS,))


def fits_on_device(num_bytes: int) -> bool:
    """Return whether an archive of this size may be copied to each device; a CPU has all memory."""
    stats = jax.local_devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return num_bytes <= _RESIDENT_SHARE * limit


def _split_last(mesh: Mesh, ndim: int) -> NamedSharding:
    """Return a sharding that splits the last axis of rows, the tiles of a batch."""
    return NamedSharding(mesh, PartitionSpec(*[None] * (ndim - 1), MESH_AXIS))


def placed(arrays: Any, sharding: NamedSharding) -> Any:
    """Copy a pytree of arrays, which every process has, to the devices of all processes."""

    def place(array: jax.typing.ArrayLike) -> jax.Array:
        host = np.asarray(array)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(place, arrays)


@functools.partial(jax.jit, static_argnums=0)
def _gather(split: NamedSharding, images: jax.Array, rows: jax.Array) -> jax.Array:
    return jax.lax.with_sharding_constraint(images[rows], split)
