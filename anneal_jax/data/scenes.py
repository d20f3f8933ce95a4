"""Windows of georeferenced scenes, read by rasterio, which is the extra `geotiff`."""

import importlib
import math
import pathlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.errors import ArchiveError, how_to_install

_CACHE_MIB = 128  # of decoded blocks; a row of windows of a striped scene stays in it
_WGS84 = "EPSG:4326"
_BOX_POINTS = 21  # per side, for sides that are curved in longitude and latitude
_WINDOWS_AT_ONCE = 4_096


class SceneError(ArchiveError):
    """One scene cannot be used; the message is the end of a sentence that begins with its name."""


class Scene(NamedTuple):
    """The header of a scene.

    Attributes:
      height: in pixels.
      width: in pixels.
      dtype: of the chosen bands together.
      crs: as well-known text; "" without one.
      transform: (a, b, c, d, e, f): x = a column + b row + c, y = d column + e row + f.
    """

    height: int
    width: int
    dtype: np.dtype[Any]
    crs: str
    transform: tuple[float, ...]


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
      SceneError: it cannot be opened, or a read from it fails.
    """
    rasterio = import_rasterio()
    try:
        with (
            rasterio.Env(GDAL_CACHEMAX=_CACHE_MIB),
            rasterio.open(path, driver="GTiff") as dataset,
        ):
            yield dataset
    except rasterio.errors.RasterioError as error:
        raise SceneError(f"cannot be read as a GeoTIFF ({error})") from error


def read_header(path: pathlib.Path, bands: Sequence[int], *, are_chosen: bool) -> Scene:
    """Return what the header of a scene says.

    Args:
      path: of the file.
      bands: numbers of the bands that are wanted, from 1.
      are_chosen: whether a person chose them; else a scene of other bands than these is refused.

    Raises:
      SceneError: it is no GeoTIFF, lacks a band, has bands among which nobody chose, or holds complex
        numbers.
    """
    with opened(path) as dataset:
        count = dataset.count
        if max(bands) > count or (count > len(bands) and not are_chosen and not _has_alpha(dataset)):
            every = ",".join(map(str, range(1, count + 1)))
            raise SceneError(f"has {count} bands; say which are wanted, as in ?bands={every}")
        dtype = np.result_type(*(dataset.dtypes[band - 1] for band in bands))
        if dtype.kind not in "uif":
            raise SceneError(f"holds {dtype} values; whole or floating-point numbers are read")
        crs = dataset.crs.to_wkt() if dataset.crs else ""
        return Scene(dataset.height, dataset.width, dtype, crs, tuple(dataset.transform)[:6])


def _has_alpha(dataset: Any) -> bool:
    """Whether there are three bands and one for transparency."""
    return dataset.count == 4 and dataset.colorinterp[3].name == "alpha"


def read_window(
    dataset: Any, bands: Sequence[int], row: int, column: int, side: int
) -> tuple[np.ndarray, npt.NDArray[np.bool_]]:
    """Return the values [S, side, side] of a window, and bool[S, side, side]: which of them are data.

    The others are masked in the file (by a nodata value, a mask or transparency) or not finite, and are 0
    here.
    """
    window = import_rasterio().windows.Window(column, row, side, side)
    values = dataset.read(list(bands), window=window)
    is_data = (dataset.read_masks(list(bands), window=window) != 0) & np.isfinite(values)
    values[~is_data] = 0
    return values, is_data


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


def window_bounds(
    scene: Scene, rows: npt.ArrayLike, columns: npt.ArrayLike, side: int
) -> npt.NDArray[np.float64]:
    """Return float64[M, 4]: left, bottom, right, top of windows in the scene's own coordinates.

    Args:
      scene: their scene.
      rows: int[M], first row of each.
      columns: int[M], first column.
      side: in pixels.
    """
    a, b, c, d, e, f = scene.transform
    corners = [(0, 0), (0, side), (side, 0), (side, side)]
    rows, columns = np.asarray(rows, np.float64), np.asarray(columns, np.float64)
    xs = np.stack([a * (columns + right) + b * (rows + down) + c for down, right in corners])
    ys = np.stack([d * (columns + right) + e * (rows + down) + f for down, right in corners])
    return np.stack([xs.min(axis=0), ys.min(axis=0), xs.max(axis=0), ys.max(axis=0)], axis=1)


def wgs84_boxes(crs: str, bounds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return float64[M, 4]: west, south, east, north in degrees of the bounds [M, 4] of windows.

    Each is the smallest box that holds the window's four sides, which may be curved in degrees. East of a
    window across the 180th meridian is above 180. NaN without a coordinate reference system, or with one
    that is tied to no place on Earth.
    """
    if not crs or not len(bounds):
        return np.full(bounds.shape, np.nan)
    rasterio = import_rasterio()
    warp, errors = (importlib.import_module(f"rasterio.{name}") for name in ("warp", "_err"))
    parts = np.linspace(0.0, 1.0, _BOX_POINTS)
    boxes = []
    for start in range(0, len(bounds), _WINDOWS_AT_ONCE):
        left, bottom, right, top = bounds[start : start + _WINDOWS_AT_ONCE].T[..., None]
        across, up = left + (right - left) * parts, bottom + (top - bottom) * parts
        ones = np.ones_like(parts)
        xs = np.concatenate([across, across, left * ones, right * ones], axis=1)
        ys = np.concatenate([bottom * ones, top * ones, up, up], axis=1)
        try:
            east, north = warp.transform(crs, _WGS84, xs.ravel(), ys.ravel())
        except (rasterio.errors.RasterioError, errors.CPLE_BaseError):  # a system of no place on Earth
            return np.full(bounds.shape, np.nan)
        east, north = np.reshape(east, xs.shape), np.reshape(north, ys.shape)
        crosses = np.ptp(east, axis=1) > 180.0
        east = np.where(crosses[:, None] & (east < 0.0), east + 360.0, east)
        boxes.append(np.stack([east.min(1), north.min(1), east.max(1), north.max(1)], axis=1))
    found = np.concatenate(boxes)
    return np.where(np.isfinite(found).all(axis=1, keepdims=True), found, np.nan)
