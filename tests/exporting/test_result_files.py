"""What is given out of a search: tables, places and copies, each read back by another library."""

import csv
import io
import json
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
from PIL import Image

from anneal_jax.data.archives import open_archive
from anneal_jax.data.wkb import wkb_boxes
from anneal_jax.errors import ArchiveError, ConfigError, UnwritableError
from anneal_jax.exporting.result_files import copy_results, result_files, zipped
from anneal_jax.exporting.result_tables import results_csv, results_geoparquet
from anneal_jax.retrieval.index_reader import index_in_memory
from anneal_jax.retrieval.originals import opened_source, original
from anneal_jax.retrieval.queries import Query
from anneal_jax.retrieval.results import Results
from tests.data.scene_files import write_scene
from tests.small_disks import small_disk

MARKS = ("right", "wrong", "", "unsure")


def index_of(archive):
    vectors = np.eye(len(archive.ids), 4, dtype=np.float32)
    return index_in_memory(archive, vectors, workdir="workdir")


def results_of(index, rows, name="a query", **known):
    return Results(
        Query(name, -1, None),
        "",
        rows,
        index.ids(rows),
        [0.9 - 0.1 * place for place in range(len(rows))],
        index.labels(rows) or [""] * len(rows),
        **known,
    )


@pytest.fixture
def tiles(tmp_path):
    """Six files in two folders, one of them with a name that no file system of Windows takes."""
    for number in range(6):
        path = tmp_path / "tiles" / ("river" if number % 2 else "field") / f'{number} "a:b".png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 40 * number, np.uint8)).save(path)
    return tmp_path / "tiles"


@pytest.fixture
def index(tiles):
    return index_of(open_archive(f"folder:{tiles}"))


@pytest.fixture
def earth():
    try:
        return index_of(open_archive("bluemarble"))
    except ArchiveError as error:
        pytest.skip(f"needs the extra demo: {error}")


def test_copies_are_the_files_byte_for_byte_beside_a_table_that_names_them(tiles, index, tmp_path):
    known = {"marks": MARKS, "groups": ("like x", "", "", "")}
    found = results_of(index, [4, 0, 5, 2], **known)
    copy_results(index, [found], tmp_path / "out", lambda row: original(index, row))
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["mark"] for row in rows] == list(MARKS) and rows[0]["group"] == "like x"
    for row, tile_id in zip(rows, found.ids, strict=True):
        assert (tmp_path / "out" / row["file"]).read_bytes() == (tiles / tile_id).read_bytes()
        assert row["id"] == tile_id and set(row["file"]).isdisjoint('"/:')
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "results.csv",
        *(row["file"] for row in rows),
    }


def test_each_of_several_queries_has_a_folder(index, tmp_path):
    results = [results_of(index, [0, 1], "../../etc"), results_of(index, [1], "b")]
    copy_results(index, results, tmp_path / "out", lambda row: original(index, row))
    folders = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert folders == ["01-_.._etc", "02-b"]
    assert len(list((tmp_path / "out" / folders[0]).iterdir())) == 2


def test_a_zip_archive_holds_the_same_files(index):
    found = [results_of(index, [3, 1])]
    files = dict(result_files(index, found, lambda row: original(index, row)))
    whole = b"".join(zipped(iter(files.items())))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_what_cannot_be_copied_leaves_nothing(tiles, index, tmp_path):
    found = [results_of(index, [0, 1, 2])]
    (tiles / index.ids([2])[0]).write_bytes(b"another")
    with pytest.raises(ArchiveError, match="changed since it was indexed"):
        copy_results(index, found, tmp_path / "out", lambda row: original(index, row))
    (tiles / index.ids([2])[0]).unlink()
    with pytest.raises(ArchiveError, match=r"cannot be read \(No such file or directory\)"):
        copy_results(index, found, tmp_path / "out", lambda row: original(index, row))
    assert [path.name for path in tmp_path.iterdir()] == ["tiles"]


def test_a_folder_with_something_in_it_is_left_as_it_is(index, tmp_path):
    found = [results_of(index, [0])]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(UnwritableError, match="it already contains files; give a new folder"):
        copy_results(index, found, tmp_path / "full", lambda row: original(index, row))
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    with pytest.raises(UnwritableError, match="its folder does not exist"):
        copy_results(index, found, tmp_path / "no" / "out", lambda row: original(index, row))
    (tmp_path / "empty").mkdir()
    copy_results(index, found, tmp_path / "empty", lambda row: original(index, row))
    assert (tmp_path / "empty" / "results.csv").exists()


def test_a_full_disk_is_one_sentence_and_nothing_half_written(index, tmp_path):
    with small_disk(tmp_path / "disk", "64k") as disk:
        (disk / "ballast").write_bytes(b"x" * 55_000)
        big = type(original(index, 0))(".tif", b"x" * 20_000)
        with pytest.raises(UnwritableError, match=r"No space left on device\); free some space there"):
            copy_results(index, [results_of(index, [0, 1])], disk / "out", lambda row: big)
        assert [path.name for path in disk.iterdir()] == ["ballast"]


def test_geoparquet_holds_what_geojson_does(earth, tmp_path):
    found = results_of(earth, [5, 900, 17], marks=("right", "", "wrong"))
    files = dict(result_files(earth, [found], lambda row: original(earth, row)))
    (tmp_path / "f.geojson").write_bytes(files["results.geojson"])
    info, bounds = pyogrio.read_info(tmp_path / "f.geojson"), pyogrio.read_bounds(tmp_path / "f.geojson")[1]
    assert info["features"] == 3 and {"similarity", "mark", "class"} <= set(info["fields"])
    table = pq.read_table(io.BytesIO(files["results.parquet"]))
    geometries = [geometry.as_py() for geometry in table["geometry"]]
    ends = np.cumsum([0, *map(len, geometries)])
    boxes = wkb_boxes(np.frombuffer(b"".join(geometries), np.uint8), ends)
    np.testing.assert_array_equal(boxes, earth.column("box")[0][[5, 900, 17]])
    np.testing.assert_array_equal(boxes.T, bounds)
    assert table["mark"].to_pylist() == ["right", None, "wrong"]
    assert table["similarity"].to_pylist() == pytest.approx([0.9, 0.8, 0.7])
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["version"] == "1.1.0" and geo["columns"]["geometry"]["encoding"] == "WKB"


def test_what_has_no_place_has_no_file_of_places(index):
    found = [results_of(index, [0])]
    names = [name for name, _ in result_files(index, found, lambda row: original(index, row))]
    assert names[-1] == "results.csv"
    with pytest.raises(ConfigError, match="has no places of its tiles"):
        results_geoparquet(index, found)


def test_what_was_searched_by_nothing_has_no_score(index):
    found = results_of(index, [0])._replace(similarities=[float("nan")])
    (row,) = csv.DictReader(io.StringIO(results_csv(index, [found])))
    assert row["similarity"] == "" and row["class"] == "field"


def test_a_window_of_a_scene_is_a_geotiff_in_its_place(tmp_path):
    import rasterio

    values = np.arange(2 * 20 * 24, dtype=np.uint16).reshape(2, 20, 24) + 1
    values[:, :3, :3] = 0  # no data
    write_scene(tmp_path / "scene.tif", values, nodata=0)
    archive = open_archive(f"geotiff:{tmp_path}?tile=8&bands=2,1&nodata=0.5")
    opened_source.cache_clear()
    row = archive.ids.index("scene.tif@y00008x00016")
    suffix, data = original(index_of(archive), row)
    assert suffix == ".tif"
    with rasterio.MemoryFile(data) as memory, memory.open() as window:
        np.testing.assert_array_equal(window.read(), values[[1, 0], 8:16, 16:24])
        assert window.bounds == pytest.approx(archive.bounds(row)) and window.crs.to_wkt() == archive.crs(
            row
        )
    with rasterio.MemoryFile(original(index_of(archive), 0).data) as memory, memory.open() as window:
        assert (window.read_masks(1) == 0).sum() == 9 and window.read(1)[4, 4] == values[1, 4, 4]


def test_tiles_without_a_file_are_written_as_png():
    archive = open_archive("digits")
    suffix, data = archive.tile_file(3)
    assert suffix == ".png"
    with Image.open(io.BytesIO(data)) as image:
        side = image.size[0]
        np.testing.assert_array_equal(np.asarray(image), archive.load([3], side)[0])
