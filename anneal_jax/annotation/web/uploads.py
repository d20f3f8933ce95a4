"""Image files that a person drops onto the search page: decoded once and held in memory.

A mark on a result puts the file's SHA-256 and its feature into the answer store
(`answers/file_answers.py`). Its bytes, its picture and its name never reach a disk.
"""

import functools
import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.annotation.web.pictures import PICTURE_PX, as_jpeg
from anneal_jax.config import ExperimentConfig
from anneal_jax.data.tiles import decode_tile, squash_tile
from anneal_jax.errors import ArchiveError
from anneal_jax.training.encoding import encode
from anneal_jax.training.network import Network, load_network
from anneal_jax.types import FloatArray

MAX_UPLOAD_BYTES = 2**25
"""Longest file that is taken, 32 MiB."""

_KEPT = 16  # files: a feature and a picture of each, some 100 kB

Encoder = Callable[[npt.NDArray[np.uint8]], FloatArray]
"""From a decoded tile uint8[H, W, 3] to its feature float32[F]."""


class Dropped(NamedTuple):
    """What is kept of a file.

    Attributes:
      tile: the tile of the archive with the very same bytes; None where there is none.
      digest: SHA-256 of the file's bytes, 64 hexadecimal digits.
      feature: float32[F], as the backbone gives it.
      picture: JPEG, squashed to a square as the tiles of the archive are.
    """

    tile: int | None
    digest: str
    feature: FloatArray
    picture: bytes


class UploadedImages:
    """The last files that were dropped, each under a key that is drawn for it."""

    def __init__(self, encoder: Encoder, digests: npt.NDArray[np.uint8]):
        """Take none yet.

        Args:
          encoder: the backbone.
          digests: uint8[N, 32], SHA-256 of the archive's tiles.
        """
        self._encoder = encoder
        self._rows = {row.tobytes(): tile for tile, row in reversed(list(enumerate(digests)))}
        self._kept: OrderedDict[str, Dropped] = OrderedDict()
        self._decoding = threading.Lock()  # the largest file that is allowed needs 200 MB while it is open

    def take(self, data: bytes) -> str:
        """Decode the bytes of an image file, and return its key.

        Raises:
          ArchiveError: it is no image that a tile can be, or the model takes other bands.
        """
        with self._decoding:
            pixels = np.asarray(decode_tile(data))
            picture = as_jpeg(squash_tile(pixels, PICTURE_PX, "bicubic"))
            feature = self._encoder(pixels)
            key = secrets.token_hex(16)
            digest = hashlib.sha256(data)
            self._kept[key] = Dropped(self._rows.get(digest.digest()), digest.hexdigest(), feature, picture)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return key

    def get(self, key: str) -> Dropped | None:
        """Return a file by its key; None where it is not kept any more."""
        return self._kept.get(key)


def backbone_encoder(config: ExperimentConfig, kind: str) -> Encoder:
    """Return the backbone of the settings as an `Encoder`; it is loaded when the first file comes.

    Args:
      config: the settings.
      kind: of the archive; where it holds ready vectors, no file has one.
    """
    network = functools.cache(lambda: load_network(config))

    def encoder(pixels: npt.NDArray[np.uint8]) -> FloatArray:
        if kind != "image":
            raise ArchiveError("has no vector, and the archive is searched by vectors; pick a tile of it")
        _require_rgb(network())
        backbone, variables, _, image_size = network()
        tile = squash_tile(pixels, image_size, backbone.resampling)
        return encode(backbone, variables, tile[None])[0]

    return encoder


def _require_rgb(network: Network) -> None:
    num_bands = len(network.backbone.mean)
    if num_bands != 3:
        raise ArchiveError(f"has three bands, and the model takes {num_bands}; pick a tile of the archive")
