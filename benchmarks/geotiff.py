"""Tile and index a large scene, and report time and peak memory.

  python benchmarks/geotiff.py --side=10000 --bands=4

Another process writes the scene, uint16 noise in tiles or strips, into a temporary folder, so that the peak
of memory is that of reading alone.
"""

import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import numpy as np
from absl import app, flags

_SIDE = flags.DEFINE_integer("side", 10_000, "Of the scene, in pixels.", lower_bound=256)
_BANDS = flags.DEFINE_integer("bands", 4, "Of the scene.", lower_bound=1)
_LAYOUT = flags.DEFINE_enum("layout", "tiles", ["tiles", "strips"], "How the file stores its pixels.")
_WRITE = flags.DEFINE_string("write", None, "Only write the scene to this file.")


def write_scene(path: pathlib.Path, side: int, num_bands: int, layout: str) -> None:
    """Write a scene of noise, 256 rows at a time."""
    import rasterio
    from rasterio.transform import from_origin

    tiling = {"tiled": True, "blockxsize": 256, "blockysize": 256} if layout == "tiles" else {}
    profile = {"width": side, "height": side, "count": num_bands, "dtype": "uint16", **tiling}
    transform = from_origin(500_000, 5_600_000, 10, 10)
    rng = np.random.default_rng(0)
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32631", transform=transform, **profile) as file:
        for row in range(0, side, 256):
            height = min(256, side - row)
            values = rng.integers(100, 4000, (num_bands, height, side), dtype=np.uint16)
            file.write(values, window=rasterio.windows.Window(0, row, side, height))


def peak_mib() -> float:
    """Return the peak memory of this process, in MiB."""
    # Not `ru_maxrss`, which begins at that of the process which started this one.
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def main(argv: Sequence[str]) -> None:
    """Write the scene, open it as an archive and embed its windows into an index; print a line for each."""
    if _WRITE.value:
        return write_scene(pathlib.Path(_WRITE.value), _SIDE.value, _BANDS.value, _LAYOUT.value)
    import jax

    from anneal_jax.data.archives import open_archive
    from anneal_jax.models.backbones import get_backbone
    from anneal_jax.retrieval.index_writer import append_tiles
    from anneal_jax.retrieval.manifest import ModelCard
    from anneal_jax.training.encoding import encode_batches
    from anneal_jax.training.features import decoded_ahead

    backbone = get_backbone("tiny_cnn", num_bands=_BANDS.value, rgb_bands=None)
    variables = backbone.init(jax.random.key(0), 64)

    def embed(archive, rows):
        tiles = decoded_ahead(archive, rows, 64, 8)
        features = encode_batches(backbone, variables, tiles, num_tiles=len(rows), batch_size=8)
        return features / np.linalg.norm(features, axis=1, keepdims=True)

    with tempfile.TemporaryDirectory() as folder:
        scene = pathlib.Path(folder, "scene.tif")
        subprocess.run([sys.executable, argv[0], f"--write={scene}", *sys.argv[1:]], check=True)  # noqa: S603
        print(f"before: {peak_mib():,.0f} MiB; the scene holds {scene.stat().st_size / 2**20:,.0f} MiB")
        start = time.perf_counter()
        numbers = ",".join(str(number + 1) for number in range(_BANDS.value))
        archive = open_archive(f"geotiff:{scene}?tile=256&bands={numbers}")
        open_s = time.perf_counter() - start
        print(f"open: {len(archive.ids):,} windows, {open_s:.1f} s, {peak_mib():,.0f} MiB")
        start = time.perf_counter()
        card = ModelCard("noise", backbone.feature_dim, "float16", "none")
        append_tiles(pathlib.Path(folder, "index"), archive, embed, card)
        print(f"index: {time.perf_counter() - start:.1f} s, {peak_mib():,.0f} MiB")
    return None


if __name__ == "__main__":
    app.run(main)
