"""An archive of windows of georeferenced scenes with any bands: `geotiff:PATH?OPTIONS`.

Values are scaled to 8 bits by one rule for the whole archive: per band, `limits[0]` and lower values become
0, `limits[1]` and higher values 255. The limits come from the option `range`, or else from percentiles of
the pixels of all windows; they do not depend on labels or the split.
"""

import hashlib
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from anneal_jax.data.bands import GEOTIFF_OPTIONS
from anneal_jax.data.catalogue import (
    Catalogue,
    TileFile,
    check_image_size,
    checked_indices,
    first_few,
    stacked_digests,
)
from anneal_jax.data.file_walk import quoted, walk_notes
from anneal_jax.data.labels import encode_labels, folder_class
from anneal_jax.data.options import split_options
from anneal_jax.data.scene_places import wgs84_boxes, window_bounds
from anneal_jax.data.scene_scan import (
    Found,
    are_calibrated,
    inspect_all,
    read_headers,
    scaling_limits,
    scene_names,
    values_digest,
)
from anneal_jax.data.scenes import (
    Scene,
    SceneError,
    import_rasterio,
    opened,
    read_window,
    window_file,
)
from anneal_jax.data.tiles import squash_tile
from anneal_jax.data.tiling import TilingSettings, scaled_to_8_bits, tiling_settings
from anneal_jax.errors import ArchiveError


@dataclass(frozen=True, kw_only=True, eq=False)
class GeoTiffArchive(Catalogue):
    """Windows of GeoTIFF scenes; an id is the scene's path below `root`, `@`, `y` row `x` column in pixels.

    Attributes:
      root: folder of the scenes.
      settings: how they were cut.
      names: paths of the scenes below `root`.
      scenes: headers of the scenes.
      windows: int32[N, 3]: index into `scenes`, first row, first column.
      limits: float64[S, 2], the values that become 0 and 255.
      is_calibrated: whether scale and offset of the scenes were applied first.
      tile_digests: uint8[N, 32].
    """

    root: pathlib.Path
    settings: TilingSettings
    names: tuple[str, ...]
    scenes: tuple[Scene, ...] = field(repr=False)
    windows: npt.NDArray[np.int32] = field(repr=False)
    limits: npt.NDArray[np.float64] = field(repr=False)
    is_calibrated: bool
    tile_digests: npt.NDArray[np.uint8] = field(repr=False)

    def tile_side(self) -> int:
        """Return the side of the windows, in pixels."""
        return self.settings.tile

    def load(
        self, indices: npt.ArrayLike, image_size: int, resampling: str = "bilinear"
    ) -> npt.NDArray[np.uint8]:
        """Read windows, scale them to 8 bits and resize them.

        Args:
          indices: int[B], rows of the archive.
          image_size: side of the returned squares, in pixels.
          resampling: lower-case name of the Pillow filter used for resizing.

        Returns:
          uint8[B, image_size, image_size, S]; 0 for pixels without data.

        Raises:
          ArchiveError: a scene is missing or has changed since the archive was opened.
        """
        check_image_size(image_size)
        rows = checked_indices(indices, len(self.ids))
        tiles = np.empty((len(rows), image_size, image_size, len(self.limits)), np.uint8)
        for scene in np.unique(self.windows[rows, 0]).tolist():
            slots = np.flatnonzero(self.windows[rows, 0] == scene)
            for slot, tile in zip(slots, self._read(scene, rows[slots]), strict=True):
                tiles[slot] = squash_tile(tile, image_size, resampling)
        return tiles

    def digests(self) -> npt.NDArray[np.uint8]:
        """Return uint8[N, 32], the SHA-256 of each window's values and of the limits they are scaled by."""
        return self.tile_digests

    def tile_file(self, index: int) -> TileFile:
        """Return a window as a georeferenced GeoTIFF with the values stored in its scene.

        Raises:
          ArchiveError: its scene is missing or has changed since the archive was opened.
        """
        scene, row, column = self.windows[index].tolist()
        for _ in self._read(scene, np.array([index])):  # raises an error if the scene has changed
            pass
        with opened(self.root / self.names[scene]) as dataset:
            return TileFile(
                ".tif", window_file(dataset, self.scenes[scene], row, column, self.settings.tile)
            )

    def crs(self, index: int) -> str:
        """Return the coordinate reference system of a tile as well-known text; "" without one."""
        return self.scenes[self.windows[index, 0]].crs

    def bounds(self, index: int) -> tuple[float, float, float, float]:
        """Return left, bottom, right, top of a tile in the unit of its `crs`; `boxes` has degrees."""
        scene, row, column = self.windows[index].tolist()
        left, bottom, right, top = window_bounds(self.scenes[scene], [row], [column], self.settings.tile)[0]
        return float(left), float(bottom), float(right), float(top)

    def _read(self, scene: int, rows: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.uint8]]:
        path = self.root / self.names[scene]
        advice = "restore it, or start again to read the scenes as they are now"
        try:
            with opened(path) as dataset:
                for row in rows.tolist():
                    _, top, left = self.windows[row].tolist()
                    values, is_data = read_window(
                        dataset,
                        self.scenes[scene],
                        top,
                        left,
                        self.settings.tile,
                        is_calibrated=self.is_calibrated,
                    )
                    if _sealed(values_digest(values), self.limits) != self.tile_digests[row].tobytes():
                        raise ArchiveError(f"{path} has changed since the archive was opened; {advice}")
                    yield scaled_to_8_bits(values, is_data, self.limits)
        except SceneError as error:
            raise ArchiveError(
                f"{path} was readable when the archive was opened, but now {error}; {advice}"
            ) from error


def open_geotiff(location: str, on_bad_image: str) -> GeoTiffArchive:
    """Open `geotiff:PATH?OPTIONS`, reading every window once, in bounded memory.

    The last window of a row or column ends with the scene, and may overlap the previous one. The first
    folder of a scene's path below PATH is the class of its tiles, as in `folder:`.

    Args:
      location: a GeoTIFF, or a folder with any below it; and options (docs/geotiff.md).
      on_bad_image: "refuse" raises one error for all scenes that cannot be used; "skip" leaves them out.

    Raises:
      ArchiveError: an option, a scene or the whole cannot be used; or rasterio is not installed.
    """
    import_rasterio()
    place, options = split_options(location, GEOTIFF_OPTIONS)
    if "codes" in options:
        raise ArchiveError("codes only applies to pixel embeddings, which also need pool=mean")
    settings = tiling_settings(options)
    root, walked = scene_names(place)
    headers, faults = read_headers(root, walked.names, settings)
    is_calibrated = are_calibrated(headers.values())
    found, broken = inspect_all(root, headers, settings, is_calibrated=is_calibrated)
    faults |= broken
    faults |= {name: f"is a folder that cannot be listed ({why})" for name, why in walked.unlisted.items()}
    if faults and on_bad_image == "refuse":
        raise ArchiveError(_refusal(root, faults, len(walked.names)))
    notes = [*_notes(found, faults, settings), *walk_notes(walked)]
    windows = np.concatenate([np.empty((0, 3), np.int32), *_numbered(found)])
    if not len(windows):
        raise ArchiveError(f"{root} contains no usable window of a scene. {' '.join(notes)}".rstrip())
    scenes = [headers[name] for name in found]
    samples = [part.sample for part in found.values()]
    limits, scaling_notes = scaling_limits(settings, scenes, samples, is_calibrated=is_calibrated)
    digests = (digest for part in found.values() for digest in part.digests)
    kept = tuple(found)
    boxes, remarks = _boxes(scenes, windows, settings.tile)
    labels, class_names = encode_labels([folder_class(kept[scene]) for scene in windows[:, 0].tolist()])
    return GeoTiffArchive(
        spec=f"geotiff:{location}",
        ids=tuple(tile_id(kept[scene], row, column) for scene, row, column in windows.tolist()),
        labels=labels,
        class_names=class_names,
        notes=(*notes, *_remarks(kept, remarks), *scaling_notes),
        left_out=tuple(tile_id(name, *at) for name, part in found.items() for at in part.left_out.tolist()),
        boxes=boxes,
        root=root,
        settings=settings,
        names=kept,
        scenes=tuple(scenes),
        windows=windows,
        limits=limits,
        is_calibrated=is_calibrated,
        tile_digests=stacked_digests(_sealed(digest, limits) for digest in digests),
    )


_LOST = "have a coordinate reference system of no place on Earth, so their tiles have no place"


def _numbered(found: dict[str, Found]) -> Iterator[npt.NDArray[np.int32]]:
    """Yield the windows of each scene with its place before them."""
    for place, part in enumerate(found.values()):
        yield np.insert(part.windows, 0, place, axis=1)


def tile_id(name: str, row: int, column: int) -> str:
    """Return the id of a window by its scene, first row and first column."""
    return f"{name}@y{row:05d}x{column:05d}"


def _boxes(
    scenes: list[Scene], windows: npt.NDArray[np.int32], tile: int
) -> tuple[npt.NDArray[np.float64] | None, list[tuple[str, ...]]]:
    """Return the boxes of all tiles, None if there are none, and the remarks on each scene."""
    firsts = np.searchsorted(windows[:, 0], np.arange(1, len(scenes)))
    boxes, remarks = [], []
    for scene, part in zip(scenes, np.split(windows, firsts), strict=True):
        bounds = window_bounds(scene, part[:, 1], part[:, 2], tile)
        boxes.append(wgs84_boxes(scene.crs, bounds))
        is_lost = scene.crs and scene.transform and len(part) and np.isnan(boxes[-1]).all()
        remarks.append((*scene.remarks, *([_LOST] if is_lost else [])))
    is_any_placed = any(scene.crs and scene.transform for scene in scenes)
    return (np.concatenate(boxes) if is_any_placed else None), remarks


def _remarks(names: tuple[str, ...], remarks: list[tuple[str, ...]]) -> Iterator[str]:
    """Yield a sentence for each thing that the headers of some scenes say."""
    named: dict[str, list[str]] = {}
    for name, said in zip(names, remarks, strict=True):
        for remark in said:
            named.setdefault(remark, []).append(name)
    for remark, found in named.items():
        yield f"{len(found):,} of {len(names):,} scenes {remark}: {quoted(found)}."


def _sealed(digest: bytes, limits: npt.NDArray[np.float64]) -> bytes:
    """Return the digest of a tile: of its stored values and of the limits that scale them."""
    return hashlib.sha256(digest + limits.tobytes()).digest()


def _refusal(root: pathlib.Path, faults: dict[str, str], num_scenes: int) -> str:
    return (
        f"{root}: {len(faults):,} of {num_scenes:,} scenes cannot be used: {_first(faults)}. Repair them, "
        "change the options, or set on_bad_image=skip to leave them out."
    )


def _notes(found: dict[str, Found], faults: dict[str, str], settings: TilingSettings) -> list[str]:
    notes = [f"Left out {len(faults):,} scenes: {_first(faults)}."] if faults else []
    num_kept, num_out = (
        sum(len(getattr(part, name)) for part in found.values()) for name in ("windows", "left_out")
    )
    if num_out:
        share = num_out / (num_kept + num_out)
        notes.append(
            f"Left out {num_out:,} of {num_kept + num_out:,} windows ({share:.1%}): more than "
            f"{settings.nodata:.0%} of their pixels hold no data."
        )
    return notes


def _first(faults: dict[str, str]) -> str:
    return first_few([f"{name!r} {fault}" for name, fault in faults.items()])
