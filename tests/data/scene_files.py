"""Scenes for tests, written by rasterio, and what their windows must be, by plain loops."""

import numpy as np
import rasterio
from rasterio.transform import from_origin

UTM = "EPSG:32631"


def write_scene(path, values, *, crs=UTM, west=500_000.0, north=5_600_000.0, metres=10.0, **profile):
    """Write [S, H, W] as a GeoTIFF with its upper left corner at (west, north)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=values.dtype,
        crs=crs,
        transform=from_origin(west, north, metres, metres),
        **profile,
    ) as file:
        file.write(values)
    return path


def naive_tile(values, row, column, side, limits, nodata=None):
    """Return uint8[side, side, S]: the window at (row, column), pixel by pixel in float64."""
    tile = np.zeros((side, side, len(values)), np.uint8)
    for y in range(side):
        for x in range(side):
            for band, (low, high) in enumerate(limits):
                value = float(values[band, row + y, column + x])
                if not np.isfinite(value) or value == nodata:
                    continue
                share = min(max((value - low) / (high - low), 0.0), 1.0)
                tile[y, x, band] = round(255.0 * share)
    return tile
