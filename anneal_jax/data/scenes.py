"""Reads windows of georeferenced scenes with rasterio (extra `geotiff`)."""

import importlib
import math
import pathlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.data.bands import Bands
from anneal_jax.errors import ArchiveError, how_to_install, refusing
from anneal_jax.text import is_utf8

_CACHE_MIB = 128  # cache of decoded blocks, large enough for a row of windows of a striped scene
_NO_TRANSFORM = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # GDAL's value if there is none
_NO_PLACE = ", so their tiles have no place"
_MIN_POINTS = 3


class SceneError(ArchiveError):
    """A scene cannot be used; the message is the end of a sentence that starts with its name."""


class Scene(NamedTuple):
    """The header of a scene.

    Attributes:
      height: in pixels.
      width: in pixels.
      bands: numbers of the chosen bands in the file, from 1.
      dtype: common dtype of these bands.
      crs: coordinate reference system as well-known text; "" without one.
      transform: (a, b, c, d, e, f): x = a column + b row + c, y = d column + e row + f; None if the file is
        not georeferenced.
      calibration: scale and offset of each band: stored * scale + offset is the value in its own unit.
      remarks: further facts from the header, each the end of a sentence that starts with scenes.
    """

    height: int
    width: int
    bands: tuple[int, ...]
    dtype: np.dtype[Any]
    crs: str
    transform: tuple[float, ...] | None
    calibration: tuple[tuple[float, float], ...]
    remarks: tuple[str, ...] = ()


def import_rasterio() -> Any:
    """Return the module rasterio.

    Raises:
      ArchiveError: it is not installed.
    """
    try:
        return importlib.import_module("rasterio")
    except ImportError as error:
        raise ArchiveError(
            f"geotiff: needs rasterio, which is not installed; install it with {how_to_install('geotiff')}"
        ) from error


@contextmanager
def opened(path: pathlib.Path) -> Iterator[Any]:
    """Open a GeoTIFF for reading, but nothing else, such as a file that links to the network.

    Raises:
      SceneError: it cannot be opened.
    """
    rasterio = import_rasterio()
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MIB):
        with refusing(_unreadable), warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # reported as a remark
            dataset = rasterio.open(path, driver="GTiff")
        with dataset:
            yield dataset


def _unreadable(reason: str) -> SceneError:
    return SceneError(f"cannot be read as a GeoTIFF ({reason})")


def read_header(path: pathlib.Path, bands: Bands, *, are_chosen: bool) -> Scene:
    """Return what the header of a scene says.

    Args:
      path: path of the file.
      bands: requested bands.
      are_chosen: whether a person chose them; if not, a scene with other bands is refused, and a scene that
        declares its red, green and blue bands is read in that order.

    Raises:
      SceneError: it is not a GeoTIFF, its name is not UTF-8, it lacks a band, its bands need a choice, or
        it contains complex numbers.
    """
    if not is_utf8(str(path)):
        raise SceneError("has a name that is not valid UTF-8")
    with opened(path) as dataset, refusing(_unreadable):  # all calls of the library are in here
        colours = [kind.name for kind in dataset.colorinterp]
        dtypes, scales, offsets = dataset.dtypes, dataset.scales, dataset.offsets
        height, width = dataset.height, dataset.width
        crs, transform, about_place = _place(dataset)
    numbers, remarks = _bands(colours, bands, are_chosen=are_chosen)
    dtype = np.result_type(*(dtypes[band - 1] for band in numbers))
    if dtype.kind not in "uif":
        raise SceneError(f"holds {dtype} values, but must hold whole or floating-point numbers")
    calibration = tuple((scales[band - 1], offsets[band - 1]) for band in numbers)
    if not all(math.isfinite(scale) and scale and math.isfinite(offset) for scale, offset in calibration):
        raise SceneError(f"has the invalid scales and offsets {calibration}")
    said = (*remarks, *about_place)
    return Scene(height, width, numbers, dtype, crs, transform, calibration, said)


def _bands(colours: list[str], wanted: Bands, *, are_chosen: bool) -> tuple[tuple[int, ...], list[str]]:
    """Return the numbers of the bands to read, and remarks about them."""
    count, numbers = len(colours), wanted.numbers
    is_coloured = all(colours.count(colour) == 1 for colour in ("red", "green", "blue"))
    rgb = tuple(colours.index(colour) + 1 for colour in ("red", "green", "blue")) if is_coloured else ()
    order = ",".join(map(str, rgb))
    if max(numbers) > count or (not are_chosen and count - colours.count("alpha") > len(numbers)):
        every = order or ",".join(map(str, range(1, count + 1)))
        raise SceneError(f"has {count} bands; choose some, as in ?bands={every}")
    said = f"say that bands {order} are red, green and blue"
    if not are_chosen:
        return rgb or numbers, [f"{said}, and are read so; see the option bands"] * (
            rgb not in ((), numbers)
        )
    remarks = [
        f"have a colour table, and band {band} is read as numbers"
        for band in numbers
        if colours[band - 1] == "palette"
    ]
    shown = tuple(numbers[place] for place in wanted.rgb or ())
    if shown != rgb and set(shown) == set(rgb):
        remarks.append(f"{said}, and are read as {','.join(map(str, shown))}; see the option rgb")
    return numbers, remarks


def _place(dataset: Any) -> tuple[str, tuple[float, ...] | None, list[str]]:
    """Return the coordinate reference system, the transform, and remarks about them."""
    crs = dataset.crs.to_wkt() if dataset.crs else ""
    transform = tuple(dataset.transform)[:6]
    points, points_crs = dataset.gcps
    if transform != _NO_TRANSFORM:
        return crs, transform, [] if crs else [f"have no coordinate reference system{_NO_PLACE}"]
    if len(points) >= _MIN_POINTS and points_crs:
        fitted = tuple(importlib.import_module("rasterio.transform").from_gcps(points))[:6]
        return (
            points_crs.to_wkt(),
            fitted,
            ["are placed by ground control points, so boxes are approximate"],
        )
    if dataset.rpcs:
        return crs, None, [f"are placed by rational polynomials (RPC) alone, which are not used{_NO_PLACE}"]
    return crs, None, [f"have no geotransform{_NO_PLACE}"]


def read_window(
    dataset: Any, scene: Scene, row: int, column: int, side: int, *, is_calibrated: bool
) -> tuple[np.ndarray, npt.NDArray[np.bool_]]:
    """Return the values [S, side, side] of a window, and bool[S, side, side]: whether each is data.

    Other values are masked in the file (by a nodata value, a mask or transparency) or not finite; they are
    0 here.

    Args:
      dataset: an opened scene.
      scene: its header.
      row: row of the window's first pixel.
      column: column of the window's first pixel.
      side: side in pixels.
      is_calibrated: whether to return values in their own unit, as float64, or as stored.

    Raises:
      SceneError: the window cannot be read.
    """
    with refusing(_unreadable):
        window = import_rasterio().windows.Window(column, row, side, side)
        values = dataset.read(list(scene.bands), window=window)
        is_data = (dataset.read_masks(list(scene.bands), window=window) != 0) & np.isfinite(values)
    if is_calibrated:
        scales, offsets = np.array(scene.calibration).T[..., None, None]
        values = values * scales + offsets
    values[~is_data] = 0
    return values, is_data


def window_file(dataset: Any, scene: Scene, row: int, column: int, side: int) -> bytes:
    """Return a window as a georeferenced GeoTIFF: its stored values, and a mask of those that are data.

    Args:
      dataset: an opened scene.
      scene: its header.
      row: of the window's first pixel.
      column: likewise.
      side: in pixels.

    Raises:
      SceneError: the window cannot be read.
    """
    values, is_data = read_window(dataset, scene, row, column, side, is_calibrated=False)
    rasterio = import_rasterio()
    place: dict[str, Any] = {"crs": scene.crs or None}
    if scene.transform is not None:
        a, b, c, d, e, f = scene.transform
        at = (a, b, a * column + b * row + c, d, e, d * column + e * row + f)
        place["transform"] = rasterio.Affine(*at)
    with (
        refusing(_unreadable),
        warnings.catch_warnings(),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.MemoryFile() as memory,
    ):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        shape = {"count": len(values), "height": side, "width": side, "dtype": values.dtype}
        with memory.open(driver="GTiff", compress="deflate", **shape, **place) as written:
            written.write(values)
            written.scales, written.offsets = zip(*scene.calibration, strict=True)
            if not is_data.all():
                written.write_mask(is_data.all(axis=0))
        return bytes(memory.getbuffer())


def window_starts(length: int, side: int, stride: int) -> npt.NDArray[np.int32]:
    """Return the starts of windows along one side of a scene; the last window ends with the scene.

    Args:
      length: length of the scene's side in pixels, at least `side`.
      side: side of a window in pixels.
      stride: pixels from one window to the next.

    >>> window_starts(100, 40, 40).tolist()
    [0, 40, 60]
    """
    num_windows = math.ceil((length - side) / stride) + 1
    starts = np.arange(num_windows, dtype=np.int32) * stride
    return np.minimum(starts, length - side).astype(np.int32)
