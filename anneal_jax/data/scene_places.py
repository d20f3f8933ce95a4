"""The places of scenes' windows on Earth: from pixels to boxes in degrees."""

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from anneal_jax.data.scenes import Scene, import_rasterio

_WGS84 = "EPSG:4326"
_BOX_POINTS = 21  # points per side, for sides that are curved in longitude and latitude
_WINDOWS_AT_ONCE = 4_096
_ROUNDING_DEG = 1e-6  # of a projection at the 180th meridian


def window_bounds(
    scene: Scene, rows: npt.ArrayLike, columns: npt.ArrayLike, side: int
) -> npt.NDArray[np.float64]:
    """Return float64[M, 4]: left, bottom, right, top of windows in the scene's own coordinates.

    Args:
      scene: their scene; the result is NaN if it is not georeferenced.
      rows: int[M], first row of each window.
      columns: int[M], first column of each window.
      side: side of a window in pixels.
    """
    rows, columns = np.asarray(rows, np.float64), np.asarray(columns, np.float64)
    if scene.transform is None:
        return np.full((len(rows), 4), np.nan)
    a, b, c, d, e, f = scene.transform
    corners = [(0, 0), (0, side), (side, 0), (side, side)]
    xs = np.stack([a * (columns + right) + b * (rows + down) + c for down, right in corners])
    ys = np.stack([d * (columns + right) + e * (rows + down) + f for down, right in corners])
    return np.stack([xs.min(axis=0), ys.min(axis=0), xs.max(axis=0), ys.max(axis=0)], axis=1)


def wgs84_boxes(crs: str, bounds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return float64[M, 4]: west, south, east, north in degrees of the bounds [M, 4] of windows.

    Each is the smallest box around the window's four sides, which may be curved in degrees. West is within
    [-180, 180); east of a window across the 180th meridian is above 180. The sides are followed around the
    window, so a window wider than half the globe is not mistaken for one across that meridian, and a window
    around a pole is recognised: its box includes all longitudes and the pole. The box is NaN without a
    coordinate reference system, or with one that is not tied to the Earth.
    """
    if not crs or not len(bounds) or np.isnan(bounds).all():
        return np.full(bounds.shape, np.nan)
    rasterio = import_rasterio()
    errors: Any = importlib.import_module("rasterio._err")
    boxes = []
    for start in range(0, len(bounds), _WINDOWS_AT_ONCE):
        try:
            boxes.append(_boxes(crs, bounds[start : start + _WINDOWS_AT_ONCE]))
        except (rasterio.errors.RasterioError, errors.CPLE_BaseError):  # a system not tied to the Earth
            return np.full(bounds.shape, np.nan)
    found = np.concatenate(boxes)
    return np.where(np.isfinite(found).all(axis=1, keepdims=True), found, np.nan)


def _boxes(crs: str, bounds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    xs, ys = _rings(bounds)
    warp: Any = importlib.import_module("rasterio.warp")
    longitudes, latitudes = warp.transform(crs, _WGS84, xs.ravel(), ys.ravel())
    longitudes, latitudes = np.reshape(longitudes, xs.shape), np.reshape(latitudes, ys.shape)
    with np.errstate(invalid="ignore"):  # points outside the projection are infinite
        turns = np.rint(np.diff(longitudes, axis=1) / 360.0)
        longitudes = longitudes - 360.0 * np.pad(np.cumsum(turns, axis=1), [(0, 0), (1, 0)])
        holds_pole = np.abs(longitudes[:, -1] - longitudes[:, 0]) > 180.0
        west, east = longitudes.min(axis=1), longitudes.max(axis=1)
        shift = 360.0 * np.floor((west + 180.0 + _ROUNDING_DEG) / 360.0)
        is_round = holds_pole | (east - west >= 360.0)
    is_north = latitudes.mean(axis=1) > 0.0
    return np.stack(
        [
            np.where(is_round, -180.0, west - shift),
            np.where(holds_pole & ~is_north, -90.0, latitudes.min(axis=1)),
            np.where(is_round, 180.0, east - shift),
            np.where(holds_pole & is_north, 90.0, latitudes.max(axis=1)),
        ],
        axis=1,
    )


def _rings(bounds: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the points of each window's outline, float64[M, P] each: anticlockwise, and closed."""
    left, bottom, right, top = bounds.T[..., None]
    parts, ones = np.linspace(0.0, 1.0, _BOX_POINTS), np.ones(_BOX_POINTS)
    across, up = left + (right - left) * parts, bottom + (top - bottom) * parts
    xs = np.concatenate([across, right * ones, across[:, ::-1], left * ones], axis=1)
    ys = np.concatenate([bottom * ones, up, top * ones, up[:, ::-1]], axis=1)
    return xs, ys
