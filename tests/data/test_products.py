"""Published products of embeddings, made small with their columns and types, and read without an option.

Sources: Clay v0, the provider's table in cloudnativegeo/geo-embeddings-survey, data/clay/readme.md, and
TorchGeo's `ClayEmbeddings`; Clay v1.5, columns as read from the LGND bucket by others; Major TOM, the types
of its metadata (grid rows int16, centres float32) and TorchGeo's `MajorTOMEmbeddings`; Earth Index, the
survey's data/earth_index and TorchGeo's `EarthIndexEmbeddings`; EarthEmbeddings, TorchGeo's class of that
name; TerraTorch, `EmbeddingGenerationTask.write_parquet` and `write_parquet_batch`.
"""

import datetime
import json
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anneal_jax.data.archives import open_archive
from anneal_jax.errors import ArchiveError

N = 5
RNG = np.random.default_rng(0)
LON, LAT = RNG.uniform(-170, 170, N), RNG.uniform(-80, 80, N)
WGS84 = {"type": "GeographicCRS", "name": "WGS 84", "id": {"authority": "EPSG", "code": 4326}}
MOMENTS = [datetime.datetime(2024, 6, 1 + day, 10, 30, day) for day in range(N)]


def vectors(dim, inner=np.float32):
    return np.random.default_rng(dim).standard_normal((N, dim)).astype(inner)


def lists(numbers):
    return pa.array(list(numbers), pa.list_(pa.from_numpy_dtype(numbers.dtype)))


def squares(half=0.05):
    boxes = np.stack([LON - half, LAT - half, LON + half, LAT + half], axis=1)
    rings = [(w, s, e, s, e, n, w, n, w, s) for w, s, e, n in boxes.tolist()]
    return boxes, pa.array([struct.pack("<BIII10d", 1, 3, 1, 5, *ring) for ring in rings], pa.binary())


def points():
    blobs = [struct.pack("<BI2d", 1, 1, x, y) for x, y in zip(LON, LAT, strict=True)]
    return np.stack([LON, LAT, LON, LAT], axis=1), pa.array(blobs, pa.binary())


def saved(path, columns, crs=WGS84, compression="zstd"):
    table = pa.table(columns)
    if crs is not None:
        about = {"encoding": "WKB", "geometry_types": [], "crs": crs}
        geo = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": about}}
        table = table.replace_schema_metadata({"geo": json.dumps(geo)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression=compression)
    return open_archive(f"embeddings:{path}")


def check(archive, expected, *, ids, boxes=None, dates=None):
    np.testing.assert_array_equal(archive.load(range(N), 0), expected.astype(np.float32))
    assert list(archive.ids) == ids
    if boxes is None:
        assert archive.boxes is None
    else:
        np.testing.assert_array_equal(archive.boxes, boxes)
    if dates is None:
        assert archive.dates is None
    else:
        np.testing.assert_array_equal(archive.dates, np.array(dates, "datetime64[s]"))


ROWS = [f"row{number}" for number in range(N)]


def test_clay_v0(tmp_path):
    numbers, (boxes, geometry) = vectors(768), squares()
    days = [moment.date() for moment in MOMENTS]
    columns = {
        "index": pa.array(range(N), pa.int64()),
        "source_url": [f"s3://clay-tiles-02/02/01WCN/claytile_01WCN_{row:04}.tif" for row in range(N)],
        "date": pa.array(days, pa.date32()),
        "embeddings": lists(numbers),
        "geometry": geometry,
    }
    archive = saved(tmp_path / "01WCN_20190518_20231021_v001.gpq", columns)
    check(archive, numbers, ids=ROWS, boxes=boxes, dates=days)


def test_clay_v1_5(tmp_path):
    numbers, (boxes, geometry) = vectors(1024), squares(0.0115)
    sides = zip(*boxes.T, strict=True)
    columns = {
        "chips_id": [f"chip-{row}" for row in range(N)],
        "cell_id": ["0123U_0456R"] * N,
        "rasters_id": [f"raster-{row}" for row in range(N)],
        "stac_item_id": [f"S2B_10SEG_2024060{row}_0_L2A" for row in range(N)],
        "collection": ["sentinel-2-l2a"] * N,
        "datetime": pa.array(MOMENTS, pa.timestamp("us", "UTC")),
        "embedding": lists(numbers),
        "bbox": [dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)) for box in sides],
        "geometry": geometry,
    }
    saved(tmp_path / "scene/gzd=10S/year=2024/month=6/part.parquet", columns)
    archive = open_archive(f"embeddings:{tmp_path / 'scene'}")
    check(archive, numbers, ids=columns["chips_id"], boxes=boxes, dates=MOMENTS)


@pytest.mark.parametrize("are_texts", [False, True])
def test_major_tom(tmp_path, are_texts):
    numbers, (boxes, geometry) = vectors(2048), squares()
    texts = [moment.strftime("%Y%m%dT%H%M%S") for moment in MOMENTS]
    columns = {
        "unique_id": [f"{row:064x}" for row in range(N)],
        "embedding": lists(numbers),
        "timestamp": texts if are_texts else pa.array(MOMENTS, pa.timestamp("ns")),
        "product_id": [f"S2A_MSIL2A_{text}_N0500_R129_T28DFJ" for text in texts],
        "grid_cell": ["922D_249L"] * N,
        "grid_row_u": pa.array([-922] * N, pa.int16()),
        "grid_col_r": pa.array([-249] * N, pa.int16()),
        "geometry": geometry,
        "centre_lat": pa.array(LAT, pa.float32()),
        "centre_lon": pa.array(LON, pa.float32()),
        "utm_footprint": ["POLYGON ((6e5 2e6, 6e5 3e6, 7e5 3e6, 6e5 2e6))"] * N,
        "utm_crs": ["EPSG:32728"] * N,
        "pixel_bbox": pa.array([[0, 0, 224, 224]] * N, pa.list_(pa.int16())),
    }
    archive = saved(tmp_path / "part_00001-00050.parquet", columns, compression="snappy")
    check(archive, numbers, ids=columns["unique_id"], boxes=boxes, dates=MOMENTS)


def test_earth_index(tmp_path):
    numbers, (boxes, geometry) = vectors(384), points()
    columns = {
        "id": [f"21MNT_{row}" for row in range(N)],
        "embedding": lists(numbers),
        "geometry": geometry,
    }
    archive = saved(tmp_path / "2024/21MNT_2024-01-01_2025-01-01.parquet", columns)
    check(archive, numbers, ids=columns["id"], boxes=boxes)


@pytest.mark.parametrize("dim", [256, 512, 1024, 1152])  # of SatCLIP, FarSLIP, DINOv2 and SigLIP
def test_earth_embeddings(tmp_path, dim):
    numbers = vectors(dim, np.float64 if dim == 1024 else np.float32)
    columns = {
        "embedding": lists(numbers),
        "centre_lon": LON,
        "centre_lat": LAT,
        "timestamp": pa.array(MOMENTS, pa.timestamp("ns")),
    }
    archive = saved(tmp_path / "DINOv2_grid_sample_center_384x384_244k.parquet", columns, crs=None)
    check(archive, numbers, ids=ROWS, boxes=points()[0], dates=MOMENTS)


def test_terratorch_joint(tmp_path):
    numbers = vectors(192, np.float64)
    columns = {
        "time": [moment.isoformat() for moment in MOMENTS],
        "center_lat": LAT,
        "center_lon": LON,
        "file_id": [f"subsetted_512x512_HLS.S30.T10SEH.{row}" for row in range(N)],
        "embedding": lists(numbers),
    }
    archive = saved(tmp_path / "layer_00/embeddings.parquet", columns, crs=None)
    check(archive, numbers, ids=columns["file_id"], boxes=points()[0], dates=MOMENTS)


def test_terratorch_a_file_for_each_tile_in_metres(tmp_path):
    from rasterio.crs import CRS
    from rasterio.warp import transform_bounds

    numbers, crs = vectors(192, np.float64), CRS.from_epsg(32610)
    bounds = [(500_000.0 + 5_120 * row, 4e6, 505_120.0 + 5_120 * row, 4.00512e6) for row in range(N)]
    for row, (w, s, e, n) in enumerate(bounds):
        ring = struct.pack("<BIII10d", 1, 3, 1, 5, w, s, e, s, e, n, w, n, w, s)
        columns = {
            "file_id": [f"tile_{row}"],
            "embedding": lists(numbers[row : row + 1]),
            "crs": ["EPSG:32610"],
            "bounds": pa.array([[w, s, e, n]], pa.list_(pa.float64())),
            "geometry": pa.array([ring], pa.binary()),
        }
        saved(tmp_path / f"layer_00/tile_{row}_embedding.parquet", columns, crs.to_dict(projjson=True))
    archive = open_archive(f"embeddings:{tmp_path / 'layer_00'}")
    assert list(archive.ids) == [f"tile_{row}" for row in range(N)]
    np.testing.assert_array_equal(archive.load(range(N), 0), numbers.astype(np.float32))
    for row in range(N):
        expected = transform_bounds(crs, "EPSG:4326", *bounds[row])
        np.testing.assert_allclose(archive.boxes[row], expected, atol=1e-9)


def test_terratorch_without_pooling_is_refused(tmp_path):
    tokens = [[[1.0, 2.0], [3.0, 4.0]]] * N
    with pytest.raises(ArchiveError, match=r"holds lists of list<.*>; a vector is one list of"):
        saved(tmp_path / "t.parquet", {"file_id": ROWS, "embedding": tokens}, crs=None)
