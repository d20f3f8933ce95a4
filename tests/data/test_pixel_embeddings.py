"""Scenes whose pixels are vectors: AlphaEarth's and TESSERA's, pooled window by window."""

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine
from rasterio.warp import transform_bounds

from anneal_jax.data.archives import open_archive
from anneal_jax.data.pixel_embeddings import dequantised, pool_pixels
from anneal_jax.errors import ArchiveError
from anneal_jax.retrieval.embedder import load_embedder
from tests.data.scene_files import UTM, write_scene
from tests.reference import pooling

SIDE = 8


def alphaearth(height=20, width=28, holes=True):
    """Return int8[64, H, W], with pixels that are masked in every band."""
    rng = np.random.default_rng(height)
    values = rng.integers(-127, 128, (64, height, width)).astype(np.int8)
    if holes:
        values[:, rng.random((height, width)) < 0.05] = -128
        values[:, 8:16, 8:16] = -128
    return values


def expected(values, codes, pool, scales=None, nodata=None):
    """Return vectors by the first row and column of windows of which a tenth at most lacks data."""
    starts = [sorted({*range(0, size - SIDE, SIDE), size - SIDE}) for size in values.shape[1:]]
    found = {}
    for row in starts[0]:
        for column in starts[1]:
            vector, share = pooling.pooled(values, row, column, SIDE, codes, pool, scales, nodata)
            if share >= 0.9:
                found[f"@y{row:05d}x{column:05d}"] = vector
    return found


def check(archive, name, vectors):
    assert list(archive.ids) == [name + at for at in vectors]
    assert archive.kind == "vector"
    np.testing.assert_allclose(
        archive.load(range(len(vectors)), 0), list(vectors.values()), rtol=2e-6, atol=1e-7
    )


@pytest.mark.parametrize("pool", ["mean", "mean+std"])
@pytest.mark.parametrize("nodata", [-128, None])
def test_alphaearth(tmp_path, pool, nodata):
    values = alphaearth()
    write_scene(tmp_path / "aef.tif", values, nodata=nodata)
    archive = open_archive(f"geotiff:{tmp_path / 'aef.tif'}?tile={SIDE}&pool={pool}")
    vectors = expected(values, "alphaearth", pool, nodata=-128)
    assert 4 < len(vectors) < 12
    check(archive, "aef.tif", vectors)
    num_out = 12 - len(vectors)
    assert archive.notes == (
        f"Left out {num_out} of 12 windows ({num_out / 12:.1%}): more than 10% of their pixels hold "
        "no data.",
    )
    metres = (500_000.0, 5_600_000.0 - SIDE * 10, 500_000.0 + SIDE * 10, 5_600_000.0)
    np.testing.assert_allclose(archive.boxes[0], transform_bounds(UTM, "EPSG:4326", *metres), atol=1e-7)


def test_a_scene_whose_rows_run_north_has_its_places_right(tmp_path):
    values = alphaearth(SIDE, SIDE, holes=False)
    write_scene(tmp_path / "up.tif", values)
    with rasterio.open(tmp_path / "up.tif", "r+") as file:
        file.transform = Affine(10.0, 0.0, 500_000.0, 0.0, 10.0, 5_600_000.0)
    archive = open_archive(f"geotiff:{tmp_path / 'up.tif'}?tile={SIDE}&pool=mean")
    metres = (500_000.0, 5_600_000.0, 500_000.0 + SIDE * 10, 5_600_000.0 + SIDE * 10)
    np.testing.assert_allclose(archive.boxes[0], transform_bounds(UTM, "EPSG:4326", *metres), atol=1e-7)


@pytest.mark.parametrize("kind", ["npy", "tif"])
def test_tessera_with_scales_beside(tmp_path, kind):
    rng = np.random.default_rng(1)
    values = rng.integers(-127, 128, (128, 16, 24)).astype(np.int8)
    values[:, 3, 3] = 0
    scales = rng.uniform(0.001, 0.1, (16, 24)).astype(np.float32)
    scales[9, 9] = np.nan
    write_scene(tmp_path / "river/grid_0.15_52.05.tiff", values)
    if kind == "npy":
        np.save(tmp_path / "river/grid_0.15_52.05_scales.npy", scales)
    else:
        write_scene(tmp_path / "river/grid_0.15_52.05_scales.tif", scales[None])
    archive = open_archive(f"geotiff:{tmp_path}?tile={SIDE}&pool=mean")
    check(archive, "river/grid_0.15_52.05.tiff", expected(values, "scales", "mean", scales))
    assert archive.class_names == ("river",) and archive.labels.tolist() == [0] * 6


def test_floats_are_taken_as_they_are_and_nan_is_left_out(tmp_path):
    values = np.random.default_rng(2).standard_normal((5, 16, 16)).astype(np.float32)
    values[2, 4, 4], values[1, 12, 1] = np.nan, np.inf
    write_scene(tmp_path / "t.tif", values)
    archive = open_archive(f"geotiff:{tmp_path / 't.tif'}?tile={SIDE}&pool=mean%2Bstd".replace("%2B", "+"))
    check(archive, "t.tif", expected(values, "plain", "mean+std"))
    chosen = open_archive(f"geotiff:{tmp_path / 't.tif'}?tile={SIDE}&pool=mean&bands=4,1")
    check(chosen, "t.tif", expected(values[[3, 0]], "plain", "mean"))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["mean", "mean+std"]),
    st.sampled_from(["alphaearth", "scales"]),
)
def test_pooling_is_that_of_its_twin(seed, pool, codes):
    rng = np.random.default_rng(seed)
    values = rng.integers(-127, 128, (3, 4, 4)).astype(np.int8)
    values[0] |= 1  # no pixel of zeros
    scales = rng.uniform(1e-3, 10.0, (4, 4))
    is_data = rng.random((4, 4)) < 0.7
    is_data[0, 0] = True
    found = pool_pixels(dequantised(values, codes, scales), is_data, pool)
    twin, share = pooling.pooled(values, 0, 0, 4, codes, pool, np.where(is_data, scales, np.nan))
    np.testing.assert_allclose(found, twin, rtol=2e-5, atol=1e-6)
    assert share == is_data.mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("pool=max", "pool=max is unknown; give one of mean, mean\\+std"),
        ("pool=mean&codes=alfaearth", r"unknown \(did you mean 'alphaearth'\?\)"),
        ("pool=mean&rgb=1,2,3", "rgb only applies to pictures of scenes, not to vectors"),
        ("codes=plain", "codes only applies to pixel embeddings, .* pool=mean"),
        ("pool=mean&tile=50", "is 16 x 16 pixels, below a tile's 50"),
        ("pool=mean&bands=7", "has 5 bands"),
        ("pool=mean&tile=8", "has 5 bands of 8 bits without a file of scales .* or give codes=plain"),
        ("pool=mean&tile=8&codes=scales", "has no file of scales next to it; put t_scales.npy there"),
    ],
)
def test_refusals(tmp_path, options, message):
    write_scene(tmp_path / "t.tif", np.ones((5, 16, 16), np.int8))
    with pytest.raises(ArchiveError, match=message):
        open_archive(f"geotiff:{tmp_path / 't.tif'}?{options}")


def test_scales_of_another_shape_and_other_products_are_refused(tmp_path):
    write_scene(tmp_path / "t.tif", np.ones((5, 16, 16), np.int8))
    np.save(tmp_path / "t_scales.npy", np.ones((16, 15)))
    with pytest.raises(ArchiveError, match=r"scales in t_scales.npy are float64\[16, 15\]"):
        open_archive(f"geotiff:{tmp_path}?tile=8&pool=mean")
    np.save(tmp_path / "t_scales.npy", np.ones((16, 16)))
    write_scene(tmp_path / "u.tif", np.ones((6, 16, 16), np.float32))
    with pytest.raises(ArchiveError, match=r"'t.tif' gives vectors of 5 numbers, and 'u.tif' of 6"):
        open_archive(f"geotiff:{tmp_path}?tile=8&pool=mean")
    (tmp_path / "u.tif").write_text("no scene")
    with pytest.raises(ArchiveError, match=r"1 of 2 scenes cannot be used: 'u.tif' cannot be read"):
        open_archive(f"geotiff:{tmp_path}?tile=8&pool=mean")
    assert len(open_archive(f"geotiff:{tmp_path}?tile=8&pool=mean", on_bad_image="skip").ids) == 4


@pytest.mark.slow
def test_a_run_learns_from_them_and_its_model_embeds_them(tmp_path):
    from anneal_jax.config import ExperimentConfig
    from anneal_jax.experiments.run import run_experiment

    for name in ("a", "b", "c"):
        write_scene(tmp_path / f"scenes/{name}/s.tif", alphaearth(32, 40 + ord(name), holes=False))
    spec = f"geotiff:{tmp_path / 'scenes'}?tile=8&pool=mean"
    run_experiment(ExperimentConfig(archive=spec, rounds=1, steps=5), tmp_path / "run")
    embedder, archive = load_embedder(tmp_path / "run"), open_archive(spec)
    assert embedder.kind == "vector"
    assert embedder.embed_archive(archive, np.arange(len(archive.ids))).shape == (
        len(archive.ids),
        embedder.dim,
    )
