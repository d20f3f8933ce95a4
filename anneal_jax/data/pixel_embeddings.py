"""Vectors of windows of pixel embeddings, such as AlphaEarth's and TESSERA's: `geotiff:PATH?pool=mean`.

A pixel embedding is a scene whose bands are the numbers of a vector. Windows are cut as for `geotiff:`.
Each becomes one vector: the mean over its pixels with data, optionally followed by the standard deviation.
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.data.bands import GEOTIFF_OPTIONS, Bands
from anneal_jax.data.catalogue import first_few
from anneal_jax.data.embeddings import VectorArchive, checked_vectors
from anneal_jax.data.file_walk import walk_notes
from anneal_jax.data.geotiff import tile_id
from anneal_jax.data.labels import encode_labels, folder_class
from anneal_jax.data.options import split_options
from anneal_jax.data.scene_places import wgs84_boxes, window_bounds
from anneal_jax.data.scene_scan import scene_names
from anneal_jax.data.scenes import (
    Scene,
    SceneError,
    import_rasterio,
    opened,
    read_header,
    window_starts,
)
from anneal_jax.data.tiling import TilingSettings, tiling_settings
from anneal_jax.errors import ArchiveError, nearest_hint
from anneal_jax.files.progress import progress_bar
from anneal_jax.types import FloatArray

POOLS = ("mean", "mean+std")
CODES = ("alphaearth", "scales", "plain")
"""Names of the encodings of stored numbers, which `dequantised` explains."""

_OPTIONS = ("tile", "stride", "bands", "nodata", "pool", "codes")  # some of GEOTIFF_OPTIONS
_ALPHAEARTH_BANDS, _ALPHAEARTH_NO_DATA = 64, -128
_SCALES_ENDINGS = ("_scales.npy", "_scales.tif", "_scales.tiff")


class _Pooled(NamedTuple):
    """First row and column of n windows of a scene, their vectors [n, D] and their boxes [n, 4]."""

    windows: npt.NDArray[np.int32]
    vectors: FloatArray
    boxes: npt.NDArray[np.float64]
    num_left_out: int


def open_pixel_embeddings(location: str, on_bad_image: str) -> VectorArchive:
    """Open `geotiff:PATH?pool=mean`, reading every pixel once, a row of windows at a time.

    Args:
      location: a GeoTIFF, or a folder with any below it; and options (docs/embeddings.md).
      on_bad_image: "refuse" raises one error for all scenes that cannot be used; "skip" leaves them out.

    Raises:
      ArchiveError: an option, a scene or the whole cannot be used; or rasterio is not installed.
    """
    import_rasterio()
    place, options = split_options(location, GEOTIFF_OPTIONS)
    settings = _settings(options)
    root, walked = scene_names(place)
    names = [name for name in walked.names if not name.endswith(_SCALES_ENDINGS)]
    found: dict[str, _Pooled] = {}
    faults = {name: f"is a folder that cannot be listed ({why})" for name, why in walked.unlisted.items()}
    with progress_bar(len(names), "pooling pixels", "scene") as bar:
        for name in names:
            try:
                found[name] = _pooled_scene(root / name, settings, options)
            except SceneError as error:
                faults[name] = str(error)
            bar.update()
    listed = first_few([f"{name!r} {fault}" for name, fault in faults.items()])
    if faults and on_bad_image == "refuse":
        raise ArchiveError(
            f"{root}: {len(faults):,} of {len(names):,} scenes cannot be used: {listed}. Repair them, "
            "change the options, or set on_bad_image=skip to leave them out."
        )
    notes = [f"Left out {len(faults):,} scenes: {listed}."] if faults else []
    notes += walk_notes(walked)
    return _archive(root, found, settings, f"geotiff:{location}", notes)


def dequantised(
    values: np.ndarray, codes: str, scales: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.float32]:
    """Convert stored numbers to the numbers of vectors.

    Args:
      values: [S, h, w].
      codes: "alphaearth": (v / 127.5)^2 with the sign of v. "scales": multiplied by the scale of the pixel.
        "plain": unchanged.
      scales: float64[h, w], for "scales".

    Returns:
      float32[S, h, w].

    Source: brown2025alphaearth, feng2025tessera; see docs/references.md for the parts used.

    >>> np.round(dequantised(np.array([[[-51, 0, 102]]], np.int8), "alphaearth"), 2)
    array([[[-0.16,  0.  ,  0.64]]], dtype=float32)
    """
    numbers = values.astype(np.float32)
    if codes == "alphaearth":
        return np.square(numbers / np.float32(127.5)) * np.sign(numbers)
    if codes == "scales":
        assert scales is not None
        return numbers * scales.astype(np.float32)
    return numbers


def pool_pixels(values: npt.NDArray[np.float32], is_data: npt.NDArray[np.bool_], pool: str) -> FloatArray:
    """Return the vector of a window.

    Args:
      values: float32[S, h, w].
      is_data: bool[h, w], at least one True; other pixels are ignored.
      pool: "mean", or "mean+std": the mean followed by the (population) standard deviation.

    Returns:
      float32[S], or float32[2 S].
    """
    pixels = values[:, is_data].astype(np.float64)
    mean = pixels.mean(axis=1)
    parts = [mean] if pool == "mean" else [mean, pixels.std(axis=1)]
    return np.concatenate(parts).astype(np.float32)


def _settings(options: Mapping[str, str]) -> TilingSettings:
    for name, known in (("pool", POOLS), ("codes", CODES)):
        if name in options and options[name] not in known:
            hint = nearest_hint(options[name], known)
            raise ArchiveError(f"{name}={options[name]} is unknown{hint}; give one of {', '.join(known)}")
    if others := [name for name in options if name not in _OPTIONS]:
        raise ArchiveError(
            f"{others[0]} only applies to pictures of scenes, not to vectors; leave it or pool out. With "
            f"pool go {', '.join(_OPTIONS)}"
        )
    return tiling_settings(dict(options))


def _pooled_scene(path: pathlib.Path, settings: TilingSettings, options: Mapping[str, str]) -> _Pooled:
    with opened(path) as dataset:
        bands = settings.bands.numbers if settings.are_chosen else tuple(range(1, dataset.count + 1))
    scene = read_header(path, Bands(bands, None), are_chosen=True)
    if min(scene.height, scene.width) < settings.tile:
        raise SceneError(f"is {scene.width} x {scene.height} pixels, below a tile's {settings.tile}")
    codes = options.get("codes") or _guessed_codes(path, scene, len(bands))
    scales = _read_scales(path, scene) if codes == "scales" else None
    columns = window_starts(scene.width, settings.tile, settings.stride)
    windows, vectors = [], []
    for row, values, is_data in _strips(path, scene, settings, bands, codes, scales):
        for column in columns.tolist():
            window = slice(column, column + settings.tile)
            is_here = is_data[:, window]
            share = is_here.mean()
            if share > 0.0 and 1.0 - share <= settings.nodata:
                windows.append((row, column))
                vectors.append(pool_pixels(values[:, :, window], is_here, options["pool"]))
    kept = np.array(windows, np.int32).reshape(-1, 2)
    num_rows = len(window_starts(scene.height, settings.tile, settings.stride))
    bounds = window_bounds(scene, kept[:, 0], kept[:, 1], settings.tile)
    boxes = wgs84_boxes(scene.crs, bounds)
    return _Pooled(kept, np.array(vectors, np.float32), boxes, num_rows * len(columns) - len(kept))


def _strips(
    path: pathlib.Path,
    scene: Scene,
    settings: TilingSettings,
    bands: tuple[int, ...],
    codes: str,
    scales: npt.NDArray[np.float64] | None,
) -> Iterator[tuple[int, npt.NDArray[np.float32], npt.NDArray[np.bool_]]]:
    """Yield each row of windows: its first row, values [S, tile, width], and which pixels hold data."""
    window = import_rasterio().windows.Window
    with opened(path) as dataset:
        for row in window_starts(scene.height, settings.tile, settings.stride).tolist():
            here = window(0, row, scene.width, settings.tile)
            stored = dataset.read(list(bands), window=here)
            is_data = (dataset.read_masks(list(bands), window=here) != 0).all(axis=0)
            if codes == "alphaearth":
                is_data &= (stored != _ALPHAEARTH_NO_DATA).all(axis=0)
            part = None if scales is None else scales[row : row + settings.tile]
            if part is not None:
                is_data &= np.isfinite(part) & (part > 0.0)
            with np.errstate(invalid="ignore", over="ignore"):  # for pixels without data
                values = dequantised(stored, codes, part)
            # A vector of zeros has no direction; products use it for areas that they do not cover.
            is_data &= np.isfinite(values).all(axis=0) & values.any(axis=0)
            yield row, values, is_data


def _guessed_codes(path: pathlib.Path, scene: Scene, num_bands: int) -> str:
    if _scales_file(path) is not None:
        return "scales"
    if scene.dtype != np.int8:
        return "plain"
    if num_bands == _ALPHAEARTH_BANDS:
        return "alphaearth"
    raise SceneError(
        f"has {num_bands} bands of 8 bits without a file of scales next to it; put "
        f"{path.stem}{_SCALES_ENDINGS[0]} there, or give codes=plain to use them unchanged"
    )


def _scales_file(path: pathlib.Path) -> pathlib.Path | None:
    candidates = (path.with_name(path.stem + ending) for ending in _SCALES_ENDINGS)
    return next((file for file in candidates if file.is_file()), None)


def _read_scales(path: pathlib.Path, scene: Scene) -> npt.NDArray[np.float64]:
    file = _scales_file(path)
    if file is None:
        raise SceneError(f"has no file of scales next to it; put {path.stem}{_SCALES_ENDINGS[0]} there")
    if file.suffix == ".npy":
        try:
            scales: Any = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError, MemoryError) as error:
            raise SceneError(f"has scales in {file.name} that cannot be read ({error})") from error
    else:
        with opened(file) as dataset:
            scales = dataset.read(1)
    if scales.shape != (scene.height, scene.width) or scales.dtype.kind not in "fiu":
        raise SceneError(
            f"is {scene.height} x {scene.width} pixels, and its scales in {file.name} are "
            f"{scales.dtype}{list(scales.shape)}; one number for each pixel is needed"
        )
    return scales.astype(np.float64)


def _archive(
    root: pathlib.Path, found: dict[str, _Pooled], settings: TilingSettings, spec: str, notes: list[str]
) -> VectorArchive:
    num_out = sum(part.num_left_out for part in found.values())
    found = {name: part for name, part in found.items() if len(part.windows)}
    num_kept = sum(len(part.windows) for part in found.values())
    if num_out:
        notes = [
            *notes,
            f"Left out {num_out:,} of {num_kept + num_out:,} windows "
            f"({num_out / (num_kept + num_out):.1%}): more than {settings.nodata:.0%} of their pixels hold "
            "no data.",
        ]
    if not found:
        raise ArchiveError(f"{root} holds no usable window of a scene. {' '.join(notes)}".rstrip())
    dims = {part.vectors.shape[1]: name for name, part in found.items()}
    if len(dims) > 1:
        (one, first), (other, second) = list(dims.items())[:2]
        raise ArchiveError(
            f"{root}: {first!r} gives vectors of {one} numbers, and {second!r} of {other}; give scenes of "
            "one product, or choose bands"
        )
    classes = [folder_class(name) for name, part in found.items() for _ in part.windows]
    labels, class_names = encode_labels(classes)
    boxes = np.concatenate([part.boxes for part in found.values()])
    return VectorArchive(
        spec=spec,
        ids=tuple(tile_id(name, *at) for name, part in found.items() for at in part.windows.tolist()),
        labels=labels,
        class_names=class_names,
        kind="vector",
        notes=tuple(notes),
        boxes=None if np.isnan(boxes).all() else boxes,
        vectors=checked_vectors(np.concatenate([part.vectors for part in found.values()]), root),
    )
