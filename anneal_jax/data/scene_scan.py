"""One pass over georeferenced scenes: collects headers, windows, digests and a sample of values."""

import functools
import hashlib
import math
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.data.file_walk import Walked, walk_files, walk_notes
from anneal_jax.data.scenes import Scene, SceneError, opened, read_header, read_window, window_starts
from anneal_jax.data.tiling import TilingSettings
from anneal_jax.errors import ArchiveError
from anneal_jax.files.progress import progress_bar

_ENDINGS = (".tif", ".tiff")
_CALIBRATED = (
    "Scenes differ in scale and offset, so values are read as stored * scale + offset, and range= is in "
    "these units."
)
_SAMPLED_PIXELS = 2**18  # for all windows together; enough for percentiles with three digits


class Found(NamedTuple):
    """The results of one pass over a scene.

    Attributes:
      windows: int32[n, 2], first row and column of each window kept.
      digests: SHA-256 of the values of each.
      left_out: int32[m, 2], windows without enough data.
      sample: float64[S, p], values of pixels with data in every band.
    """

    windows: npt.NDArray[np.int32]
    digests: list[bytes]
    left_out: npt.NDArray[np.int32]
    sample: npt.NDArray[np.float64]


def scene_names(place: str) -> tuple[pathlib.Path, Walked]:
    """Return the folder of the scenes, and its contents.

    Raises:
      ArchiveError: it contains none.
    """
    path = pathlib.Path(place).expanduser().absolute()
    if place and path.is_file():
        return path.parent, Walked([path.name], Counter(), [], [], {})
    if not place or not path.is_dir():
        raise ArchiveError(
            f"geotiff:{place} is not a file or folder on this machine; give one, as in geotiff:/data/scenes"
        )

    walked = walk_files(path, _ENDINGS)
    if not walked.names and not walked.unlisted:
        notes = " ".join(walk_notes(walked))
        raise ArchiveError(f"{path} has no file that ends with {' or '.join(_ENDINGS)}. {notes}".rstrip())
    return path, walked


def read_headers(
    root: pathlib.Path, names: list[str], settings: TilingSettings
) -> tuple[dict[str, Scene], dict[str, str]]:
    """Return the headers of usable scenes and the faults of the others, both by name."""
    scenes, faults = {}, {}
    with progress_bar(len(names), "reading headers", "scene") as bar:
        for name in names:
            try:
                scene = read_header(root / name, settings.bands, are_chosen=settings.are_chosen)
                if min(scene.height, scene.width) < settings.tile:
                    raise SceneError(
                        f"is {scene.width} x {scene.height} pixels, below a tile's {settings.tile}"
                    )
                scenes[name] = scene
            except SceneError as error:
                faults[name] = str(error)
            bar.update()
    return scenes, faults


def inspect_all(
    root: pathlib.Path, scenes: dict[str, Scene], settings: TilingSettings, *, is_calibrated: bool
) -> tuple[dict[str, Found], dict[str, str]]:
    """Read every window of every scene once.

    Args:
      root: folder of the scenes.
      scenes: headers by name.
      settings: how scenes are cut.
      is_calibrated: as in `read_window`.

    Returns:
      The results, and the faults of scenes that cannot be read completely; both by name.
    """
    windows = {name: _all_windows(scene, settings) for name, scene in scenes.items()}
    num_windows = sum(map(len, windows.values()))
    # A grid over each window or, with so many windows that one pixel each is too much, over some windows.
    step = math.ceil(math.sqrt(num_windows * settings.tile**2 / _SAMPLED_PIXELS))
    every = math.ceil(num_windows / _SAMPLED_PIXELS)
    found, faults, num_done = {}, {}, 0
    with progress_bar(num_windows, "reading windows", "window") as bar:
        for name in scenes:
            numbers = np.arange(num_done, num_done + len(windows[name]))
            is_sampled = (numbers % every == 0) & (settings.limits is None)
            try:
                read = functools.partial(
                    read_window, scene=scenes[name], side=settings.tile, is_calibrated=is_calibrated
                )
                found[name] = _inspect(
                    root / name, windows[name], settings, is_sampled, min(step, settings.tile), read
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
    read: Callable[..., tuple[np.ndarray, npt.NDArray[np.bool_]]],
) -> Found:
    is_kept = np.zeros(len(windows), np.bool_)
    digests: list[bytes] = []
    samples = [np.empty((len(settings.bands.numbers), 0))]
    grid = slice(step // 2, None, step)
    with opened(path) as dataset:
        for number, (row, column) in enumerate(windows.tolist()):
            values, is_data = read(dataset, row=row, column=column)
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


def are_calibrated(scenes: Iterable[Scene]) -> bool:
    """Return whether values must be read in their own unit because scenes differ in scale or offset."""
    return len({scene.calibration for scene in scenes}) > 1


def scaling_limits(
    settings: TilingSettings,
    scenes: Iterable[Scene],
    samples: Sequence[npt.NDArray[np.float64]],
    *,
    is_calibrated: bool,
) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Return the limits of scaling float64[S, 2], and notes about them.

    Args:
      settings: settings, which may specify the limits.
      scenes: headers of the scenes.
      samples: float64[S, p] for each scene.
      is_calibrated: as in `read_window`.

    Raises:
      ArchiveError: they must be computed, but no sampled pixel has data in all bands.
    """
    notes = [_CALIBRATED] if is_calibrated else []
    if settings.limits is not None:
        return np.array(settings.limits), notes
    num_bands = len(settings.bands.numbers)
    is_8_bit = all(scene.dtype == np.uint8 for scene in scenes) and not is_calibrated
    if settings.percentile is None and is_8_bit:
        return np.tile([0.0, 255.0], (num_bands, 1)), notes
    low, high = settings.percentile or (2.0, 98.0)
    sample = np.concatenate(samples, axis=1)
    if not sample.size:
        raise ArchiveError("no sampled pixel has data in every band; give range=LOW,HIGH")
    limits = np.array([_short(*pair) for pair in np.percentile(sample, [low, high], axis=1).T.tolist()])
    flat = [
        number for number, (a, b) in zip(settings.bands.numbers, limits.tolist(), strict=True) if a == b
    ]
    text = ",".join(map(_written, limits.ravel().tolist()))
    if len(flat) < num_bands:
        notes.append(
            f"Values are scaled to 8 bits from percentile {low:g} to {high:g} of {sample.shape[1]:,} "
            f"pixels; range={text} instead of percentiles keeps this scaling when scenes are added."
        )
    if flat:
        numbers = ", ".join(map(str, flat))
        notes.append(
            f"Between percentile {low:g} and {high:g} there is one value alone in band {numbers}, which "
            "becomes black; give percentile=0,100 or the range of values, or leave it out of bands."
        )
    return limits, notes


def _written(value: float) -> str:
    return f"{value:.6g}" if value == float(f"{value:.6g}") else f"{value!r}"


def _short(low: float, high: float) -> tuple[float, float]:
    """Round to six digits, so that the range in the note reproduces exactly these limits.

    If that would make both numbers equal, they keep all digits.
    """
    short = float(f"{low:.6g}"), float(f"{high:.6g}")
    return (low, high) if short[0] == short[1] and low < high else short


def values_digest(values: np.ndarray) -> bytes:
    """Return the SHA-256 of a window's values."""
    return hashlib.sha256(values.tobytes()).digest()
