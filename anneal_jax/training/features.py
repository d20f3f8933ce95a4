"""Backbone features of a whole archive, computed once and cached on disk."""

import hashlib
import json
import logging
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anneal_jax.errors import ConfigError, UnwritableError, WeightsError, reason_of
from anneal_jax.files.atomic import replacing
from anneal_jax.models.backbones import Backbone
from anneal_jax.training.blocks import BLOCK_ROWS
from anneal_jax.training.encoding import default_batch_size, encode_batches
from anneal_jax.training.prefetch import done_ahead
from anneal_jax.types import Archive, FloatArray

CODE_VERSION = 1
"""Part of every cache key; increase it when the output of decoding, resizing or a network changes."""

_CHECKSUM_BYTES = 32

_log = logging.getLogger(__name__)


def extract_features(
    archive: Archive,
    backbone: Backbone,
    variables: Any,
    *,
    image_size: int,
    weights_digest: str,
    cache_dir: str | Path | None = None,
    batch_size: int | None = None,
    code_version: int = CODE_VERSION,
) -> FloatArray:
    """Compute every tile's feature, or read them from the cache.

    A cache file that is truncated, altered or belongs to another key is reported, never used, and replaced
    after computing the features again. The vectors of an archive of kind "vector" are returned unchanged.

    Args:
      archive: N tiles.
      backbone: the network.
      variables: its variables.
      image_size: side to which tiles are resized, in pixels.
      weights_digest: text that represents `variables` in the key: the SHA-256 of a file, or a
        description of how random weights were drawn.
      cache_dir: folder for cached features, created if missing; None disables caching.
      batch_size: tiles per step; None uses `default_batch_size()`.
      code_version: see `CODE_VERSION`.

    Returns:
      float32[N, F].

    Raises:
      WeightsError: a feature is nan or infinite.
      ArchiveError: a tile cannot be read.
      ConfigError: `cache_dir` cannot be created or written to.
    """
    if archive.kind == "vector":
        return archive.load(np.arange(len(archive.ids)), image_size)
    if cache_dir is None:
        return _compute(archive, backbone, variables, image_size, batch_size)
    key = cache_key(archive, backbone, image_size, weights_digest, code_version)
    path = Path(cache_dir) / f"features-{key}.npy"
    _make_writable(path.parent)  # fail now, not after the work
    features = _read_cache(path, key)
    if features is None:
        features = _compute(archive, backbone, variables, image_size, batch_size)
        _write_cache(path, key, features)
    return features


def cache_key(
    archive: Archive,
    backbone: Backbone,
    image_size: int,
    weights_digest: str,
    code_version: int = CODE_VERSION,
) -> str:
    """Return the hexadecimal SHA-256 of everything that a feature depends on.

    These are the bytes and order of the tiles, the weights, the backbone with its input scaling and dtype,
    the image size, and the version of the code.
    """
    settings = {
        "backbone": repr(backbone),
        "image_size": image_size,
        "weights": weights_digest,
        "code_version": code_version,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(archive.digests().tobytes())
    return digest.hexdigest()


def default_cache_dir() -> Path:
    """Return the user's folder for cached features, below `$XDG_CACHE_HOME` or `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anneal-jax"


def standardisation(features: FloatArray, train_indices: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the (mean, scale) that standardise features: (features - mean) / scale.

    Only the training images determine them. A dimension that is constant on these gets scale 1.

    Args:
      features: float32[N, F].
      train_indices: int[T], rows of the training images.

    Returns:
      (float32[F], float32[F]).

    Raises:
      ConfigError: there are no training images.

    >>> features = np.array([[1.0, 5.0], [3.0, 5.0], [99.0, 99.0]], np.float32)
    >>> mean, scale = standardisation(features, [0, 1])
    >>> mean.tolist(), scale.tolist()
    ([2.0, 5.0], [1.0, 1.0])
    """
    rows = np.asarray(train_indices, np.int64)
    if not len(rows):
        raise ConfigError("no training images to take feature mean and scale from; use a larger share")
    starts = range(0, len(rows), BLOCK_ROWS)

    def mean_of(value: Callable[[FloatArray], np.ndarray]) -> np.ndarray:
        """Return the mean of a function of the training features, a block at a time."""
        blocks = (features[rows[start : start + BLOCK_ROWS]] for start in starts)
        sums = [value(block).sum(axis=0, dtype=np.float64) for block in blocks]
        return np.sum(sums, axis=0) / len(rows)

    mean = mean_of(lambda block: block)
    deviation = np.sqrt(mean_of(lambda block: np.square(block - mean[None])))
    # Not `deviation == 0`: the mean of equal values may differ from them by rounding.
    differing = mean_of(lambda block: block != features[rows[:1]])
    scale = np.where(differing == 0, 1.0, deviation)
    return mean.astype(np.float32), scale.astype(np.float32)


def decoded_ahead(
    archive: Archive,
    rows: npt.NDArray[np.integer],
    image_size: int,
    batch_size: int,
    resampling: str = "bilinear",
) -> Iterator[np.ndarray]:
    """Yield tiles uint8[<= batch_size, H, H, S] in order, while one thread decodes the next.

    Args:
      archive: has the tiles.
      rows: int[M], rows of the tiles; at least one.
      image_size: H, side to which tiles are resized, in pixels.
      batch_size: tiles at once.
      resampling: the backbone's filter for resizing them.
    """

    def load(start: int) -> np.ndarray:
        return archive.load(rows[start : start + batch_size], image_size, resampling)

    return done_ahead(load, range(0, len(rows), batch_size), num_threads=1, depth=1)


def _compute(
    archive: Archive, backbone: Backbone, variables: Any, image_size: int, batch_size: int | None
) -> FloatArray:
    size = batch_size or default_batch_size()
    tiles = decoded_ahead(archive, np.arange(len(archive.ids)), image_size, size, backbone.resampling)
    features = encode_batches(backbone, variables, tiles, num_tiles=len(archive.ids), batch_size=size)
    if not np.isfinite(features).all():
        raise WeightsError(f"backbone {backbone.name!r} gives nan or infinite features; check its weights")
    return features


def _make_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ConfigError(
            f"computed features cannot be stored in {folder} ({reason_of(error)}); set "
            "cache_dir=FOLDER to one that can be written to."
        ) from error


def _write_cache(path: Path, key: str, features: FloatArray) -> None:
    """Write an .npy file, and after its end a checksum of key and content, which readers ignore.

    If the disk is full, the features are not cached, and the work continues.
    """
    try:
        with replacing(path) as temporary:
            with temporary.open("wb") as file:
                np.save(file, features, allow_pickle=False)
            checksum = _checksum(temporary, key, temporary.stat().st_size)
            with temporary.open("ab") as file:
                file.write(checksum)
    except UnwritableError as error:
        _log.warning("%s; set cache_dir=FOLDER, or the features are computed again next time", error)


def _read_cache(path: Path, key: str) -> FloatArray | None:
    """Return the cached features, or None if there are none or they cannot be trusted."""
    if not path.exists():
        return None
    content_bytes = path.stat().st_size - _CHECKSUM_BYTES
    if content_bytes > 0:
        with path.open("rb") as file:
            file.seek(content_bytes)
            stored = file.read()
        if stored == _checksum(path, key, content_bytes):
            return np.load(path, allow_pickle=False)
    _log.warning("cached features in %s are damaged; they are computed again", path)
    return None


def _checksum(path: Path, key: str, content_bytes: int) -> bytes:
    digest = hashlib.sha256(key.encode())
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), content_bytes, access=mmap.ACCESS_READ) as content,
    ):
        digest.update(content)
    return digest.digest()
