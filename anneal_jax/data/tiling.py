"""How scenes are cut into tiles: the options of `geotiff:`, and the scaling of values to 8 bits."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.data.bands import Bands, bands_from_options
from anneal_jax.errors import ArchiveError

_LARGEST_TILE = 8_192


class TilingSettings(NamedTuple):
    """How scenes are cut into tiles; the defaults are those of the options.

    Attributes:
      tile: side of a window, in pixels.
      stride: pixels from one window to the next.
      bands: the bands to read.
      are_chosen: whether the spec names them.
      nodata: maximum share of a window's pixels without data in any band.
      percentile: low and high percentile; None keeps 8-bit values unchanged, and uses 2 and 98 for others.
      limits: float64[S, 2] from the spec; None if they are computed.
    """

    tile: int = 256
    stride: int = 256
    bands: Bands = Bands()
    are_chosen: bool = False
    nodata: float = 0.1
    percentile: tuple[float, float] | None = None
    limits: npt.NDArray[np.float64] | None = None


def tiling_settings(options: dict[str, str]) -> TilingSettings:
    """Return the settings given by the options of a spec.

    Raises:
      ArchiveError: one of them cannot be used.

    >>> tiling_settings({"tile": "64", "range": "0,3000"}).limits.tolist()
    [[0.0, 3000.0], [0.0, 3000.0], [0.0, 3000.0]]
    """
    bands = bands_from_options(options)
    tile = _whole("tile", options.get("tile", "256"))
    stride = _whole("stride", options.get("stride", str(tile)))
    (nodata,) = _floats("nodata", options.get("nodata", "0.1"), (1,), 0.0, 1.0)
    percentile = limits = None
    if "percentile" in options and "range" in options:
        raise ArchiveError("give percentile or range, not both: each defines the scaling to 8 bits")
    if "percentile" in options:
        low, high = _floats("percentile", options["percentile"], (2,), 0.0, 100.0)
        percentile = _rising("percentile", low, high)
    if "range" in options:
        counts = (2, 2 * len(bands.numbers))
        numbers = _floats("range", options["range"], counts, -math.inf, math.inf)
        limits = np.broadcast_to(np.reshape(numbers, (-1, 2)), (len(bands.numbers), 2))
        if not (limits[:, 0] < limits[:, 1]).any() or (limits[:, 0] > limits[:, 1]).any():
            _rising("range", *next((low, high) for low, high in limits.tolist() if not low < high))
    return TilingSettings(tile, stride, bands, "bands" in options, nodata, percentile, limits)


def scaled_to_8_bits(
    values: np.ndarray, is_data: npt.NDArray[np.bool_], limits: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """Scale a window's values: 255 (value - low) / (high - low), rounded, within 0 and 255.

    Args:
      values: [S, side, side], of any real type.
      is_data: bool[S, side, side]; the result is 0 if False.
      limits: float64[S, 2], low and high of each band. A constant band, low = high, becomes 0.

    Returns:
      uint8[side, side, S].

    >>> values = np.array([[[100, 200], [300, 400]]], np.uint16)
    >>> scaled_to_8_bits(values, values > 0, np.array([[100.0, 300.0]]))[..., 0].tolist()
    [[0, 128], [255, 255]]
    """
    low, high = limits[:, 0, None, None], limits[:, 1, None, None]
    shares = (values - low) / np.where(high > low, high - low, np.inf)
    levels = np.rint(255.0 * np.clip(shares, 0.0, 1.0))
    return np.ascontiguousarray(np.where(is_data, levels, 0.0).astype(np.uint8).transpose(1, 2, 0))


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _LARGEST_TILE):
        raise ArchiveError(f"{name}={text} must be a number of pixels from 1 to {_LARGEST_TILE}")
    return int(text)


def _floats(name: str, text: str, counts: tuple[int, ...], low: float, high: float) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in counts or not all(math.isfinite(n) and low <= n <= high for n in numbers):
        wanted = " or ".join(str(count) for count in counts)
        within = f" from {low:g} to {high:g}" if math.isfinite(low) else ""
        raise ArchiveError(f"{name}={text} must be {wanted} numbers{within}, with commas between them")
    return numbers


def _rising(name: str, low: float, high: float) -> tuple[float, float]:
    if not low < high:
        raise ArchiveError(f"{name}={low:g},{high:g} must increase: first black, then white")
    return low, high
