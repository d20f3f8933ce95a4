"""Pictures for vectors: a file per id, windows of a scene, a column of paths, or only their names."""

import importlib
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from anneal_jax.annotation.web.settings import THUMBNAILS
from anneal_jax.data.catalogue import (
    Catalogue,
    TileFile,
    check_image_size,
    checked_indices,
    first_few,
    sha256_rows,
)
from anneal_jax.data.scenes import SceneError, opened
from anneal_jax.data.tiles import TileError, read_tile, squash_tile, tile_pixels
from anneal_jax.data.tiling import scaled_to_8_bits
from anneal_jax.data.vector_files import read_paths
from anneal_jax.errors import ArchiveError
from anneal_jax.types import Archive

_ENDINGS = ("", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".JPG", ".JPEG", ".PNG", ".TIF", ".TIFF")
_SCENE_ENDINGS = (".tif", ".tiff")
_POINT_PX = 64  # side of the window around a place that is a point
_OVERVIEW_PX = 512  # side of the overview from which a scene's percentiles are computed
_PERCENTILES = (2.0, 98.0)
_WGS84 = "EPSG:4326"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pictured(Catalogue):
    """Pictures uint8[B, H, H, 3] for the vectors of an archive, in the same order."""

    def load(
        self, indices: npt.ArrayLike, image_size: int, resampling: str = "bilinear"
    ) -> npt.NDArray[np.uint8]:
        check_image_size(image_size)
        rows = checked_indices(indices, len(self.ids)).tolist()
        pictures = [self.picture(row, image_size, resampling) for row in rows]
        return np.array(pictures, np.uint8).reshape(-1, image_size, image_size, 3)

    def picture(self, row: int, image_size: int, resampling: str) -> npt.NDArray[np.uint8]:
        """Return uint8[image_size, image_size, 3]."""
        raise NotImplementedError

    def digests(self) -> npt.NDArray[np.uint8]:
        """Return uint8[N, 32], SHA-256 of each picture at 64 pixels."""
        return sha256_rows(self.picture(row, 64, "bilinear") for row in range(len(self.ids)))


@dataclass(frozen=True, kw_only=True, eq=False)
class FilePictures(_Pictured):
    """A picture file for each vector."""

    paths: tuple[pathlib.Path, ...] = field(repr=False)

    def tile_file(self, index: int) -> TileFile:
        """Return a picture's file, byte for byte."""
        try:
            return TileFile(self.paths[index].suffix, read_tile(self.paths[index]))
        except TileError as error:
            raise ArchiveError(f"{self.paths[index]} {error}") from error

    def picture(self, row: int, image_size: int, resampling: str) -> npt.NDArray[np.uint8]:
        """Decode a file."""
        try:
            return tile_pixels(read_tile(self.paths[row]), image_size, resampling)
        except TileError as error:
            raise ArchiveError(f"{self.paths[row]} {error}") from error


@dataclass(frozen=True, kw_only=True, eq=False)
class ScenePictures(_Pictured):
    """Windows of a scene, cut at the place of each vector; pixels without data are black.

    Attributes:
      path: path of the scene.
      places: float64[N, 4], boxes in degrees.
      limits: float64[3, 2], values of red, green and blue that map to 0 and 255.
    """

    path: pathlib.Path
    places: npt.NDArray[np.float64] = field(repr=False)
    limits: npt.NDArray[np.float64]

    def picture(self, row: int, image_size: int, resampling: str) -> npt.NDArray[np.uint8]:
        """Cut and stretch a window."""
        nothing = np.zeros((image_size, image_size, 3), np.uint8)
        if np.isnan(self.places[row]).any():
            return nothing
        with _blamed(self.path), opened(self.path) as dataset:
            left, top, right, bottom = _window(dataset, self.places[row])
            inner = _inside(left, right, dataset.width), _inside(top, bottom, dataset.height)
            if not all(stop > start for start, stop in inner):
                return nothing
            (first_x, last_x), (first_y, last_y) = inner
            window = ((first_y, last_y), (first_x, last_x))
            bands = _bands(dataset)
            values = dataset.read(bands, window=window).astype(np.float64)
            is_data = (dataset.read_masks(bands, window=window) != 0) & np.isfinite(values)
        values[~is_data] = 0.0
        whole = np.zeros((bottom - top, right - left, 3), np.uint8)
        part = scaled_to_8_bits(values, is_data, self.limits)
        whole[first_y - top : last_y - top, first_x - left : last_x - left] = part
        return squash_tile(whole, image_size, resampling)


@dataclass(frozen=True, kw_only=True, eq=False)
class NamePictures(_Pictured):
    """Names instead of pictures: enough for search, but nothing that a person could judge."""

    def tile_file(self, index: int) -> TileFile:
        """Refuse: there is nothing to copy."""
        raise ArchiveError(
            f"the vector {self.ids[index]!r} has no picture to copy; name the tiles with --archive, "
            "or export the table"
        )

    def picture(self, row: int, image_size: int, resampling: str) -> npt.NDArray[np.uint8]:
        """Draw the name on grey."""
        del resampling
        image = Image.new("RGB", (image_size, image_size), (216, 216, 216))
        font = ImageFont.load_default(max(8, image_size // 14))
        name = "\n".join(self.ids[row][start : start + 20] for start in range(0, 100, 20)).strip()
        ImageDraw.Draw(image).multiline_text((image_size // 16, image_size // 3), name, (32, 32, 32), font)
        return np.asarray(image)


def open_thumbnails(archive: Archive, said: str) -> _Pictured:
    """Return pictures for the vectors of an archive.

    Args:
      archive: of vectors.
      said: a folder with a file for each id, with or without a suffix; a GeoTIFF, for vectors with places;
        a column of the Parquet file with paths relative to its folder; or an empty string.

    Raises:
      ArchiveError: it is none of these, or a vector has no picture there.
    """
    about = {"spec": f"{THUMBNAILS}{said}", "ids": archive.ids}
    if not said:
        return NamePictures(**about)
    path = pathlib.Path(said).expanduser().absolute()
    if path.is_dir():
        return FilePictures(**about, paths=_by_id(path, archive))
    if path.is_file() and path.suffix.lower() in _SCENE_ENDINGS:
        return _of_scene(path, archive, about)
    if path.exists():
        raise ArchiveError(f"{path} is neither a folder nor a GeoTIFF; give one, or a column of paths")
    paths = tuple(map(pathlib.Path, read_paths(archive.spec, said)))
    _require_all(
        [(name, file) for name, file in zip(archive.ids, paths, strict=True) if not file.is_file()]
    )
    return FilePictures(**about, paths=paths)


def _by_id(folder: pathlib.Path, archive: Archive) -> tuple[pathlib.Path, ...]:
    paths, missing = [], []
    for name in archive.ids:
        candidates = (folder / f"{name}{ending}" for ending in _ENDINGS)
        found = next((path for path in candidates if path.is_file()), folder / name)
        paths.append(found)
        if not found.is_file() or not found.resolve().is_relative_to(folder.resolve()):
            missing.append((name, folder / f"{name}.jpg"))
    _require_all(missing)
    return tuple(paths)


def _require_all(missing: list[tuple[str, pathlib.Path]]) -> None:
    if missing:
        listed = first_few([f"{name!r} in {path}" for name, path in missing])
        raise ArchiveError(f"{len(missing):,} vectors have no picture: {listed}; put the files there")


def _of_scene(path: pathlib.Path, archive: Archive, about: dict[str, Any]) -> ScenePictures:
    if archive.boxes is None:
        raise ArchiveError(
            f"{archive.spec} has no places, so windows of {path} cannot be cut; give a folder of pictures"
        )
    with _blamed(path), opened(path) as dataset:
        if not dataset.crs:
            raise SceneError("has no coordinate reference system, so windows cannot be cut by place")
        shape = min(dataset.height, _OVERVIEW_PX), min(dataset.width, _OVERVIEW_PX)
        values = dataset.read(_bands(dataset), out_shape=(3, *shape)).astype(np.float64)
        is_data = dataset.read_masks(_bands(dataset), out_shape=(3, *shape)) != 0
        if dataset.dtypes[0] == "uint8":
            return ScenePictures(
                **about, path=path, places=archive.boxes, limits=np.tile([0.0, 255.0], (3, 1))
            )
    known = [band[here & np.isfinite(band)] for band, here in zip(values, is_data, strict=True)]
    return ScenePictures(
        **about, path=path, places=archive.boxes, limits=np.array([_limits(band) for band in known])
    )


def _limits(band: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return percentiles of a band, or its minimum and maximum if nearly all values are equal."""
    if not band.size:
        return 0.0, 1.0
    low, high = np.percentile(band, _PERCENTILES).tolist()
    return (low, high) if high > low else (float(band.min()), float(band.max()))


def _bands(dataset: Any) -> list[int]:
    return [1, 2, 3] if dataset.count >= 3 else [1, 1, 1]


def _window(dataset: Any, box: npt.NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom in pixels of the scene; any of them may lie outside it."""
    west, south, east, north = box
    across, up = np.linspace(west, east, 5), np.linspace(south, north, 5)
    lon = np.concatenate([across, across, np.full(5, west), np.full(5, east)])
    lat = np.concatenate([np.full(5, south), np.full(5, north), up, up])
    warp = importlib.import_module("rasterio.warp")
    xs, ys = warp.transform(_WGS84, dataset.crs, lon, lat)
    columns, rows = ~dataset.transform * (np.array(xs), np.array(ys))
    if not (np.isfinite(columns).all() and np.isfinite(rows).all()):
        return 0, 0, 0, 0
    left, right, top, bottom = columns.min(), columns.max(), rows.min(), rows.max()
    grow = [
        max(0.0, (_POINT_PX - size) / 2) if size < 1.0 else 0.0 for size in (right - left, bottom - top)
    ]
    limits = np.rint([left - grow[0], top - grow[1], right + grow[0], bottom + grow[1]])
    left, top, right, bottom = np.clip(limits, -1e6, 1e7).astype(int).tolist()
    is_huge = right - left > 4 * dataset.width or bottom - top > 4 * dataset.height
    return (0, 0, 0, 0) if is_huge else (left, top, right, bottom)


def _inside(start: int, stop: int, size: int) -> tuple[int, int]:
    return max(start, 0), min(stop, size)


@contextmanager
def _blamed(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except SceneError as error:
        raise ArchiveError(f"{path} {error}") from error
