"""Windows of georeferenced scenes, read by rasterio, which is the extra `geotiff`."""

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

_CACHE_MIB = 128  # of decoded blocks; a row of windows of a striped scene stays in it
_NO_TRANSFORM = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # what GDAL gives where there is none
_NO_PLACE = ", so their tiles have no place"
_MIN_POINTS = 3


class SceneError(ArchiveError):
    """One scene cannot be used; the message is the end of a sentence that begins with its name."""


class Scene(NamedTuple):
    """The header of a scene.

    Attributes:
      height: in pixels.
      width: in pixels.
      bands: numbers of the chosen bands in the file, from 1.
      dtype: of these together.
      crs: as well-known text; "" without one.
      transform: (a, b, c, d, e, f): x = a column + b row + c, y = d column + e row + f; None where the file
        does not say where it lies.
      calibration: scale and offset of each band: stored * scale + offset is the value in its own unit.
      remarks: what else the header says, each the end of a sentence that begins with scenes.
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
            f"geotiff: is read by rasterio, which is not installed; {how_to_install('geotiff')} brings it"
        ) from error


@contextmanager
def opened(path: pathlib.Path) -> Iterator[Any]:
    """Open a GeoTIFF for reading, and nothing that only poses as one, such as a link to the network.

    Raises:
      SceneError: it cannot be opened.
    """
    rasterio = import_rasterio()
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MIB):
        with refusing(_unreadable), warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # a remark says it
            dataset = rasterio.open(path, driver="GTiff")
        with dataset:
            yield dataset


def _unreadable(reason: str) -> SceneError:
    return SceneError(f"cannot be read as a GeoTIFF ({reason})")


def read_header(path: pathlib.Path, bands: Bands, *, are_chosen: bool) -> Scene:
    """Return what the header of a scene says.

    Args:
      path: of the file.
      bands: that are wanted.
      are_chosen: whether a person chose them; else a scene of other bands than these is refused, and one
        that says which of its bands are red, green and blue is read in this order.

    Raises:
      SceneError: it is no GeoTIFF, its name is not UTF-8, it lacks a band, has bands among which nobody
        chose, or holds complex numbers.
    """
    if not is_utf8(str(path)):
        raise SceneError("has a name that is not valid UTF-8")
    with opened(path) as dataset, refusing(_unreadable):  # reads all that is asked of the library
        colours = [kind.name for kind in dataset.colorinterp]
        dtypes, scales, offsets = dataset.dtypes, dataset.scales, dataset.offsets
        height, width = dataset.height, dataset.width
        crs, transform, about_place = _place(dataset)
    numbers, remarks = _bands(colours, bands, are_chosen=are_chosen)
    dtype = np.result_type(*(dtypes[band - 1] for band in numbers))
    if dtype.kind not in "uif":
        raise SceneError(f"holds {dtype} values; whole or floating-point numbers are read")
    calibration = tuple((scales[band - 1], offsets[band - 1]) for band in numbers)
    if not all(math.isfinite(scale) and scale and math.isfinite(offset) for scale, offset in calibration):
        raise SceneError(f"has the scales and offsets {calibration}, by which no value can be read")
    said = (*remarks, *about_place)
    return Scene(height, width, numbers, dtype, crs, transform, calibration, said)


def _bands(colours: list[str], wanted: Bands, *, are_chosen: bool) -> tuple[tuple[int, ...], list[str]]:
    """Return the bands to read by number, and what there is to say of them."""
    count, numbers = len(colours), wanted.numbers
    is_coloured = all(colours.count(colour) == 1 for colour in ("red", "green", "blue"))
    rgb = tuple(colours.index(colour) + 1 for colour in ("red", "green", "blue")) if is_coloured else ()
    order = ",".join(map(str, rgb))
    if max(numbers) > count or (not are_chosen and count - colours.count("alpha") > len(numbers)):
        every = order or ",".join(map(str, range(1, count + 1)))
        raise SceneError(f"has {count} bands; say which are wanted, as in ?bands={every}")
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
    """Return the coordinate reference system, the transform, and what there is to say of them."""
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
    """Return the values [S, side, side] of a window, and bool[S, side, side]: which of them are data.

    The others are masked in the file (by a nodata value, a mask or transparency) or not finite, and are 0
    here.

    Args:
      dataset: an opened scene.
      scene: its header.
      row: of the window's first pixel.
      column: likewise.
      side: in pixels.
      is_calibrated: whether values are in their own unit, float64, or as they are stored.

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
    """Return a window as a GeoTIFF with its place: its values as stored, and a mask of those that are data.

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
    """Return where windows begin along one side of a scene; the last ends with the scene.

    Args:
      length: of the scene's side, in pixels; at least `side`.
      side: of a window, in pixels.
      stride: pixels from one window to the next.

    >>> window_starts(100, 40, 40).tolist()
    [0, 40, 60]
    """
    num_windows = math.ceil((length - side) / stride) + 1
    starts = np.arange(num_windows, dtype=np.int32) * stride
    return np.minimum(starts, length - side).astype(np.int32)
