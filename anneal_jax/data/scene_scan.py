"""One pass over georeferenced scenes: their headers, windows, digests, and a sample of their values."""

import hashlib
import math
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.data.scenes import Scene, SceneError, opened, read_header, read_window, window_starts
from anneal_jax.data.tiling import TilingSettings
from anneal_jax.errors import ArchiveError
from anneal_jax.files.progress import progress_bar

_ENDINGS = (".tif", ".tiff")
_SAMPLED_PIXELS = 2**18  # of all windows together; enough for a percentile of three digits


class Found(NamedTuple):
    """What one pass over a scene found.

    Attributes:
      windows: int32[n, 2], first row and column of each window that is kept.
      digests: SHA-256 of its values.
      left_out: int32[m, 2], windows without enough data.
      sample: float64[S, p], values of pixels that hold data in every band.
    """

    windows: npt.NDArray[np.int32]
    digests: list[bytes]
    left_out: npt.NDArray[np.int32]
    sample: npt.NDArray[np.float64]


def scene_names(place: str) -> tuple[pathlib.Path, list[str]]:
    """Return the folder that scenes lie below, and their paths from there, sorted.

    Raises:
      ArchiveError: there are none, or a folder cannot be listed.
    """
    path = pathlib.Path(place).expanduser().absolute()
    if place and path.is_file():
        return path.parent, [path.name]
    if not place or not path.is_dir():
        raise ArchiveError(
            f"geotiff:{place} is no file or folder on this machine; give one, as in geotiff:/data/scenes"
        )

    def refuse(error: OSError) -> None:
        raise ArchiveError(f"the folder {error.filename} cannot be listed: {error.strerror}") from error

    names = []
    for folder, subfolders, files in os.walk(path, onerror=refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        here = pathlib.Path(folder).relative_to(path)
        found = (name for name in files if name.lower().endswith(_ENDINGS) and not name.startswith("."))
        names += [(here / name).as_posix() for name in found]
    if not names:
        raise ArchiveError(f"{path} holds no file that ends with {' or '.join(_ENDINGS)}")
    return path, sorted(names)


def read_headers(
    root: pathlib.Path, names: list[str], settings: TilingSettings
) -> tuple[dict[str, Scene], dict[str, str]]:
    """Return the headers of scenes that can be cut, and the faults of the others; both by name."""
    scenes, faults = {}, {}
    with progress_bar(len(names), "reading headers", "scene") as bar:
        for name in names:
            try:
                scene = read_header(root / name, settings.bands.numbers, are_chosen=settings.are_chosen)
                if min(scene.height, scene.width) < settings.tile:
                    raise SceneError(
                        f"is {scene.width} x {scene.height} pixels, and a tile {settings.tile}"
                    )
                scenes[name] = scene
            except SceneError as error:
                faults[name] = str(error)
            bar.update()
    return scenes, faults


def inspect_all(
    root: pathlib.Path, scenes: dict[str, Scene], settings: TilingSettings
) -> tuple[dict[str, Found], dict[str, str]]:
    """Read every window of every scene once.

    Args:
      root: folder that the names start from.
      scenes: headers by name.
      settings: how scenes are cut.

    Returns:
      What was found, and faults of scenes that cannot be read to their end; both by name.
    """
    windows = {name: _all_windows(scene, settings) for name, scene in scenes.items()}
    num_windows = sum(map(len, windows.values()))
    # A grid over each window, and beyond so many windows that each gives one pixel, over some windows.
    step = math.ceil(math.sqrt(num_windows * settings.tile**2 / _SAMPLED_PIXELS))
    every = math.ceil(num_windows / _SAMPLED_PIXELS)
    found, faults, num_done = {}, {}, 0
    with progress_bar(num_windows, "reading windows", "window") as bar:
        for name in scenes:
            numbers = np.arange(num_done, num_done + len(windows[name]))
            is_sampled = (numbers % every == 0) & (settings.limits is None)
            try:
                found[name] = _inspect(
                    root / name, windows[name], settings, is_sampled, min(step, settings.tile)
                )
            except SceneError as error:
                faults[name] = str(error)
            num_done += len(windows[name])
            bar.update(len(windows[name]))
    return found, faults


def _inspect(
    path: pathlib.Path,
    windows: npt.NDArray[np.int32],
    settings: TilingSettings,
    is_sampled: npt.NDArray[np.bool_],
    step: int,
) -> Found:
    is_kept = np.zeros(len(windows), np.bool_)
    digests: list[bytes] = []
    samples = [np.empty((len(settings.bands.numbers), 0))]
    grid = slice(step // 2, None, step)
    with opened(path) as dataset:
        for number, (row, column) in enumerate(windows.tolist()):
            values, is_data = read_window(dataset, settings.bands.numbers, row, column, settings.tile)
            share = is_data.any(axis=0).mean()
            is_kept[number] = share > 0.0 and 1.0 - share <= settings.nodata
            if is_kept[number]:
                digests.append(values_digest(values))
            if is_kept[number] and is_sampled[number]:
                is_whole = is_data[:, grid, grid].all(axis=0)
                samples.append(values[:, grid, grid][:, is_whole].astype(np.float64))
    return Found(windows[is_kept], digests, windows[~is_kept], np.concatenate(samples, axis=1))


def _all_windows(scene: Scene, settings: TilingSettings) -> npt.NDArray[np.int32]:
    """Return int32[n, 2], first row and column of each window, row by row."""
    rows = window_starts(scene.height, settings.tile, settings.stride)
    columns = window_starts(scene.width, settings.tile, settings.stride)
    return np.stack([np.repeat(rows, len(columns)), np.tile(columns, len(rows))], axis=1)


def scaling_limits(
    settings: TilingSettings, scenes: Iterable[Scene], samples: Sequence[npt.NDArray[np.float64]]
) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Return the limits of scaling float64[S, 2], and a sentence on them where they were computed.

    Args:
      settings: which may give them.
      scenes: headers.
      samples: float64[S, p] of each scene.

    Raises:
      ArchiveError: they are to be computed, and no sampled pixel holds data in all bands.
    """
    if settings.limits is not None:
        return np.array(settings.limits), []
    num_bands = len(settings.bands.numbers)
    if settings.percentile is None and all(scene.dtype == np.uint8 for scene in scenes):
        return np.tile([0.0, 255.0], (num_bands, 1)), []
    low, high = settings.percentile or (2.0, 98.0)
    sample = np.concatenate(samples, axis=1)
    if not sample.size:
        raise ArchiveError("no sampled pixel holds data in every band; give range=LOW,HIGH")
    limits = np.percentile(sample, [low, high], axis=1).T
    # Short numbers, so that the range in the note gives exactly these limits again.
    limits = np.array([[float(f"{value:.6g}") for value in pair] for pair in limits.tolist()])
    text = ",".join(f"{value:.6g}" for value in limits.ravel())
    return limits, [
        f"Values are scaled to 8 bits from percentile {low:g} to {high:g} of {sample.shape[1]:,} pixels; "
        f"range={text} in place of percentiles keeps this scaling when scenes are added."
    ]


def values_digest(values: np.ndarray) -> bytes:
    """Return the SHA-256 of a window's values."""
    return hashlib.sha256(values.tobytes()).digest()
