"""Image files dropped onto the search page: decoded once and held in memory.

A mark on a result puts the file's SHA-256 and its feature into the answer store
(`answers/file_answers.py`). Its bytes, picture and name are never written to disk.
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
"""Maximum size of a file, 32 MiB."""

_KEPT = 16  # files, each with a feature and a picture of about 100 kB

Encoder = Callable[[npt.NDArray[np.uint8]], FloatArray]
"""Maps a decoded tile uint8[H, W, 3] to its feature float32[F]."""


class Dropped(NamedTuple):
    """What is held of a file.

    Attributes:
      tile: the tile of the archive with exactly the same bytes; None if there is none.
      digest: SHA-256 of the file's bytes, 64 hexadecimal digits.
      feature: float32[F], output of the backbone.
      picture: JPEG, resized to a square like the tiles of the archive.
    """

    tile: int | None
    digest: str
    feature: FloatArray
    picture: bytes


class UploadedImages:
    """The most recently dropped files, each under a random key."""

    def __init__(self, encoder: Encoder, digests: npt.NDArray[np.uint8]):
        """Start without files.

        Args:
          encoder: the backbone.
          digests: uint8[N, 32], SHA-256 of the archive's tiles.
        """
        self._encoder = encoder
        self._rows = {row.tobytes(): tile for tile, row in reversed(list(enumerate(digests)))}
        self._kept: OrderedDict[str, Dropped] = OrderedDict()
        self._decoding = threading.Lock()  # the largest allowed file needs 200 MB while it is decoded

    def take(self, data: bytes) -> str:
        """Decode the bytes of an image file, and return its key.

        Raises:
          ArchiveError: it is not a valid tile image, or the model expects other bands.
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
        """Return a file by its key; None if it is no longer held."""
        return self._kept.get(key)


def backbone_encoder(config: ExperimentConfig, kind: str) -> Encoder:
    """Return the backbone of the settings as an `Encoder`; it is loaded for the first file.

    Args:
      config: the settings.
      kind: kind of the archive; if it holds precomputed vectors, a file has none.
    """
    network = functools.cache(lambda: load_network(config))

    def encoder(pixels: npt.NDArray[np.uint8]) -> FloatArray:
        if kind != "image":
            raise ArchiveError("has no vector, but this archive is searched by vector; choose a tile")
        _require_rgb(network())
        backbone, variables, _, image_size = network()
        tile = squash_tile(pixels, image_size, backbone.resampling)
        return encode(backbone, variables, tile[None])[0]

    return encoder


def _require_rgb(network: Network) -> None:
    num_bands = len(network.backbone.mean)
    if num_bands != 3:
        raise ArchiveError(f"has three bands, but the model expects {num_bands}; choose a tile instead")
