"""Scenes of 13 bands, from the questions to a map of the results."""

import json

import numpy as np
import pyogrio
import pytest
from PIL import Image

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive
from anneal_jax.errors import ArchiveError, ConfigError
from anneal_jax.experiments.run import run_experiment
from anneal_jax.exporting.geojson import write_geojson
from anneal_jax.reporting.run_report import report_run
from anneal_jax.retrieval.embedder import load_embedder
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.index_writer import append_tiles
from anneal_jax.retrieval.queries import Query
from anneal_jax.retrieval.results import Results
from anneal_jax.training.network import load_network
from tests.data.scene_files import write_scene
from tests.launching import run_script

BANDS = ",".join(map(str, range(1, 14)))
OPTIONS = f"tile=16&bands={BANDS}&rgb=4,3,2"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Scenes of three classes, which differ in one band each that no eye sees; a run and its index."""
    place = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    for number, name in enumerate(("crop", "river", "town")):
        for scene in range(2):
            values = rng.integers(500, 1500, (13, 48, 64)).astype(np.uint16)
            values[8 + number] += 2000
            west = 500_000.0 + 10_000 * (2 * number + scene)
            write_scene(place / "scenes" / name / f"{scene}.tif", values, west=west, nodata=0)
    config = ExperimentConfig(
        archive=f"geotiff:{place / 'scenes'}?{OPTIONS}",
        backbone="tiny_cnn",
        image_size=16,
        initial_draw="random",
        rounds=2,
        steps=25,
        pairs_per_round=30,
        cache_dir=str(place / "cache"),
    )
    outcome = run_experiment(config, place / "run")
    embedder = load_embedder(place / "run")
    archive = open_archive(config.archive)
    append_tiles(place / "index", archive, embedder.embed_archive, embedder.model_card())
    return place, config, outcome


def test_the_network_takes_the_bands_of_the_archive(place):
    _, config, outcome = place
    network = load_network(config)
    assert len(network.backbone.mean) == 13 and network.backbone.rgb_bands == (3, 2, 1)
    assert outcome.rows[-1]["mean_average_precision_at_5"] > 0.9  # by bands that RGB has not


def test_a_model_embeds_tiles_of_its_bands_alone(place):
    folder, config, _ = place
    embedder = load_embedder(folder / "run")
    archive = open_archive(config.archive)
    tiles = archive.load(range(3), 16)
    expected = embedder.embed_archive(archive, np.arange(3))
    np.testing.assert_allclose(embedder.embed(tiles), expected, atol=1e-6)
    with pytest.raises(ArchiveError, match=r"a tile is uint8\[16, 16, 3\]; give uint8\[N, H, W, 13\]"):
        embedder.embed(tiles[..., :3])
    with pytest.raises(ConfigError, match=r"backbone takes uint8 or float32 \[B, H, H, 13\]"):
        embedder.embed_archive(open_archive("digits"), np.arange(3))


def test_the_report_shows_the_visible_bands(place, tmp_path):
    _, config, outcome = place
    report_run(config, outcome, tmp_path)
    assert (tmp_path / "report.html").is_file()


def test_results_open_as_a_map(place, tmp_path):
    folder, config, _ = place
    archive = open_archive(config.archive)
    done = run_script(
        *("search", f"--index={folder / 'index'}", "--k=4", "--json"),
        *(f"--query={archive.ids[0]}", f"--query={archive.ids[-1]}"),
        *(f"--geojson={tmp_path / 'found.geojson'}", f"--picture={tmp_path / 'found.png'}"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = [hit for query in json.loads(done.stdout) for hit in query["results"]]
    about = pyogrio.read_info(tmp_path / "found.geojson")
    assert (about["features"], about["geometry_type"], about["crs"]) == (8, "Polygon", "EPSG:4326")
    _, bounds = pyogrio.read_bounds(tmp_path / "found.geojson")
    rows = [archive.ids.index(hit["id"]) for hit in found]
    np.testing.assert_allclose(bounds.T, archive.boxes[rows], atol=1e-9)
    about, _, _, fields = pyogrio.raw.read(tmp_path / "found.geojson")
    columns = dict(zip(about["fields"], fields, strict=True))
    assert columns["id"].tolist() == [hit["id"] for hit in found]
    assert columns["rank"].tolist() == [1, 2, 3, 4] * 2
    assert columns["similarity"].tolist() == pytest.approx([hit["similarity"] for hit in found])
    assert set(columns["class"]) <= {"crop", "river", "town"}
    with Image.open(tmp_path / "found.png") as picture:
        assert picture.width > 600


def test_a_box_filters_by_degrees(place):
    folder, config, _ = place
    archive = open_archive(config.archive)
    box = ",".join(map(str, archive.boxes[5]))
    done = run_script(
        *("search", f"--index={folder / 'index'}", "--json", "--k=50"),
        *(f"--query={archive.ids[0]}", f"--box={box}"),
    )
    assert done.returncode == 0, done.stderr
    found = {hit["id"] for hit in json.loads(done.stdout)[0]["results"]}
    assert archive.ids[5] in found and 1 <= len(found) <= 9  # and tiles that touch it


def test_an_index_without_places_has_no_map(place, tmp_path):
    folder, *_ = place
    embedder = load_embedder(folder / "run")
    archive = open_archive(f"geotiff:{folder / 'scenes' / 'crop'}?{OPTIONS}")
    results = [Results(Query("q", -1, None), "", [0], [archive.ids[0]], [0.5], [""])]
    for name, boxes, message in (
        ("none", None, "has no places of its tiles"),
        ("metres", archive.boxes * 1e5, "which is not in degrees"),
    ):
        index = tmp_path / name
        columns = {} if boxes is None else {"box": boxes}
        object.__setattr__(archive, "boxes", None)
        append_tiles(index, archive, embedder.embed_archive, embedder.model_card(), metadata=columns)
        with pytest.raises(ConfigError, match=message):
            write_geojson(open_index(index), results, tmp_path / "found.geojson")
        object.__setattr__(archive, "boxes", boxes)
    assert not (tmp_path / "found.geojson").exists()
