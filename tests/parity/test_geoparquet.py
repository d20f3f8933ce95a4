"""Our GeoParquet, read by GeoPandas: the file itself, with its metadata."""

import numpy as np
import pytest

from anneal_jax.exporting.parquet import write_parquet
from tests.exporting.test_exporting import SHARDS, small_index

geopandas = pytest.importorskip("geopandas", reason="needs geopandas; run scripts/parity")


def test_places_are_read_by_geopandas(tmp_path):
    write_parquet(small_index(tmp_path / "index", SHARDS), tmp_path / "e.parquet")
    frame = geopandas.read_parquet(tmp_path / "e.parquet")
    assert frame.crs.equals("OGC:CRS84")
    assert frame["id"].tolist() == [f"tile {number} é" for number in range(4)]
    shapes = list(frame.geometry)
    assert [shape and shape.geom_type for shape in shapes] == ["Polygon", None, "MultiPolygon", "Polygon"]
    assert all(shape.is_valid for shape in shapes if shape is not None)
    assert shapes[0].bounds == (5.1, 50.2, 5.3, 50.4)
    across = sorted(part.bounds for part in shapes[2].geoms)
    np.testing.assert_allclose(across, [(-180.0, -1.0, -179.5, 1.0), (179.5, -1.0, 180.0, 1.0)])
    near = geopandas.read_parquet(tmp_path / "e.parquet", columns=["id", "geometry"]).cx[5:6, 50:51]
    assert near["id"].tolist() == ["tile 0 é"]
