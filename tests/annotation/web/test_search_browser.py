# ruff: noqa: F811
"""The search page as a person uses it: a name, a file, a drop, marks; in a wide window and on a phone."""

import base64
import csv
import io
import json
import zipfile

import pytest
from PIL import Image

from tests.annotation.scripted import Server
from tests.annotation.web.test_browser import browser, sit_down  # noqa: F401
from tests.annotation.web.test_map_browser import earth  # noqa: F401

pytestmark = pytest.mark.browser

DROP = """([place, encoded, name]) => {
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  const dropped = new DragEvent("drop", { dataTransfer: transfer, bubbles: true });
  document.querySelector(place).dispatchEvent(dropped);
}"""


def result(page, place):
    return page.locator("#results li").nth(place)


def tile_of(shown):
    return int(shown.locator("img").get_attribute("src").split("/")[1].split(".")[0])


def search_by_name(page, name):
    page.fill("#text", name)
    page.wait_for_function("() => document.querySelectorAll('#offered .tile').length === 1")
    page.click("#offered .tile")
    page.wait_for_selector(f"#heading:has-text('{name}')")
    page.wait_for_selector("#results li")


def drop(page, place, data, name):
    page.evaluate(DROP, [place, base64.b64encode(data).decode(), name])


def turned(path):
    """Return a file that is no tile of the archive: one of them, upside down."""
    with Image.open(path) as image, io.BytesIO() as file:
        image.transpose(Image.Transpose.ROTATE_180).save(file, "PNG")
        return file.getvalue()


def is_without_scrolling(page):
    return page.evaluate(
        "() => document.documentElement.scrollHeight <= innerHeight"
        " && document.documentElement.scrollWidth <= innerWidth"
    )


@pytest.fixture(scope="module")
def server(tiles_folder, tmp_path_factory):
    """Of the tests that say nothing, or of tiles that no other one speaks of."""
    flags = (f"--archive=folder:{tiles_folder}", "--backbone=pixels", "--sentence=Same land use")
    with Server(tmp_path_factory.mktemp("search") / "work", *flags) as served:
        yield served


def opened(browser, server, **options):
    page = browser.new_page(**options)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on(
        "console", lambda said: page.faults.append(said.text) if "Content Security" in said.text else None
    )
    page.goto(server.url)
    page.wait_for_selector("#offered .tile")
    return page


WINDOWS = [
    {"viewport": {"width": 1280, "height": 800}},
    {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
]


@pytest.mark.parametrize("window", WINDOWS, ids=["desktop", "phone"])
def test_a_wall_then_results_at_once_and_nothing_lies_below_the_fold(browser, server, window):
    page = opened(browser, server, **window)
    assert is_without_scrolling(page) and page.title().startswith("Search")
    first = page.locator("#offered .tile").first
    name = first.get_attribute("title")
    shown = page.locator("#offered .tile").count()
    assert shown >= 8 and page.text_content("#range") == f"1–{shown} of 60"
    page.click("#after")
    page.wait_for_function("shown => !document.querySelector('#range').textContent.startsWith('1–')", arg=0)
    assert page.locator("#offered .tile").first.get_attribute("title") != name
    page.click("#before")
    page.wait_for_selector(f"#offered .tile[title='{name}']")
    first.click()
    page.wait_for_selector("#results li")
    assert is_without_scrolling(page) and page.text_content("#heading") == name
    assert page.locator("#results li").count() >= 8 and name in page.title()
    page.click("#back")
    first.wait_for()
    page.go_back()
    page.wait_for_selector("#results li")
    page.keyboard.press("Escape")
    first.wait_for()
    assert page.faults == []
    page.close()


def test_keys_move_mark_take_back_and_page(browser, server):
    page = opened(browser, server, **WINDOWS[0])
    page.locator("#offered .tile").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#results li")
    own = int(page.url.split("=")[-1])
    page.wait_for_function("() => document.activeElement.matches('#results li:first-child .tile')")
    page.keyboard.press("ArrowRight")
    other = tile_of(result(page, 1))
    for key, word in (("r", "similar"), ("w", "dissimilar")):
        page.keyboard.press(key)
        page.wait_for_selector(f"#results li.{word}:nth-child(2)")
        (said,) = server.get("answers")["answers"]
        assert said["answer"] == word and {said["first"], said["second"]} == {own, other}
    assert page.text_content("#marked") == "0 right, 1 wrong"
    page.keyboard.press("w")
    page.wait_for_selector("#results li:nth-child(2):not(.dissimilar)")
    assert server.get("answers")["answers"] == [] and page.text_content("#marked") == ""
    best = tile_of(result(page, 0))
    page.keyboard.press("Enter")
    page.wait_for_selector("#place:not(:has-text('1–'))")
    assert tile_of(result(page, 0)) != best
    page.keyboard.press("ArrowLeft")  # out of the page, to the end of the one before
    page.wait_for_selector("#results li:last-child .tile:focus")
    assert tile_of(result(page, 0)) == best
    page.keyboard.press("Enter")
    page.wait_for_selector("#place:not(:has-text('1–'))")
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector("#place:has-text('1–')")
    page.keyboard.press("Space")
    page.wait_for_function("best => location.hash === `#tile=${best}`", arg=best)
    assert page.faults == []
    page.close()


def test_a_file_is_marked_as_a_tile_is_and_its_marks_survive_a_restart(browser, tiles_folder, tmp_path):
    flags = (f"--archive=folder:{tiles_folder}", "--backbone=pixels", "--sentence=Same land use")
    data = turned(tiles_folder / "tile30.png")
    with Server(tmp_path / "work", *flags) as server:
        page = opened(browser, server, **WINDOWS[0])
        page.set_input_files("#file", tiles_folder / "tile30.png")
        page.wait_for_selector("#asked:has-text('tile30.png is the same as this tile')")
        drop(page, "#results", data, "turned.png")
        page.wait_for_selector("#heading:has-text('turned.png')")
        page.wait_for_selector("#results li")
        right, wrong = (tile_of(result(page, place)) for place in (0, 2))
        result(page, 0).locator(".right").click()
        page.wait_for_selector("#results li.similar:nth-child(1)")
        result(page, 2).locator(".wrong").evaluate("one => { one.click(); one.click(); }")
        page.wait_for_selector("#results li.dissimilar:nth-child(3)")
        assert page.text_content("#marked") == "1 right, 1 wrong"
        assert server.get("state")["num_answers"] == 0  # no pair of tiles
        drop(page, "body", b"no image", "notes.txt")
        page.wait_for_selector(
            "#trouble:has-text('does not contain a JPEG, PNG, TIFF, WebP, JPEG 2000 or BMP file')"
        )
        assert page.text_content("#heading") == "turned.png" and page.faults == []
    with Server(tmp_path / "work") as server:  # killed, and started again
        page.goto(server.url)
        page.click("#files summary")
        page.click("#files button:has-text('File 1: 2 marks')")
        page.wait_for_selector("#marked:has-text('1 right, 1 wrong')")
        assert "is not stored" in page.text_content("#asked")
        drop(page, "body", data, "again.png")
        page.wait_for_selector("#heading:has-text('again.png')")
        page.wait_for_selector("#marked:has-text('1 right, 1 wrong')")
        marks = {tile_of(one): one.get_attribute("class") for one in page.locator("#results li").all()}
        assert (marks[right], marks[wrong]) == ("similar", "dissimilar")
        result(page, 0).locator(".right").click()
        page.wait_for_selector("#marked:has-text('0 right, 1 wrong')")
        assert page.faults == []
    page.close()


def test_refine_orders_by_marks_at_once_and_the_slider_bounds_the_list(browser, tiles_folder, tmp_path):
    flags = (f"--archive=folder:{tiles_folder}", "--backbone=pixels", "--sentence=Same land use")
    with Server(tmp_path / "work", *flags) as server:
        page = opened(browser, server, **WINDOWS[0])
        search_by_name(page, "tile12")
        assert page.is_disabled("#refine")
        order = [tile_of(one) for one in page.locator("#results li").all()]
        for place, key, word in ((0, "w", "dissimilar"), (3, "r", "similar")):
            result(page, place).locator(".tile").focus()
            page.keyboard.press(key)
            page.wait_for_selector(f"#results li.{word}:nth-child({place + 1})")
        assert [tile_of(one) for one in page.locator("#results li").all()] == order
        page.keyboard.press("f")
        page.wait_for_selector("#marked:has-text('results are re-ranked by them')")
        assert tile_of(result(page, 0)) == order[3]
        page.click("#plain")
        page.wait_for_selector("#plain", state="hidden")
        assert [tile_of(one) for one in page.locator("#results li").all()] == order
        page.fill("#least", "90")
        page.wait_for_selector("#leastSaid:has-text('0.90 or more')")
        page.wait_for_function("() => !document.querySelector('#place').textContent.includes('of 59')")
        assert is_without_scrolling(page) and page.faults == []
        page.close()


def test_undo_takes_back_the_last_mark_on_a_file_or_a_tile_and_details_lists_both(
    browser, tiles_folder, tmp_path
):
    flags = (f"--archive=folder:{tiles_folder}", "--backbone=pixels", "--sentence=Same land use")
    with Server(tmp_path / "work", *flags) as server:
        page = opened(browser, server, **WINDOWS[0])
        search_by_name(page, "tile12")
        result(page, 0).locator(".right").click()
        page.wait_for_selector("#results li.similar")
        drop(page, "body", turned(tiles_folder / "tile30.png"), "turned.png")
        page.wait_for_selector("#heading:has-text('turned.png')")
        page.wait_for_selector("#results li")
        for place, key, word in ((0, "r", "similar"), (1, "w", "dissimilar")):
            result(page, place).locator(".tile").focus()
            page.keyboard.press(key)
            page.wait_for_selector(f"#results li.{word}:nth-child({place + 1})")
        wrong = result(page, 1).locator(".tile").get_attribute("title")
        details = browser.new_page()
        details.goto(f"{server.url}details")
        details.wait_for_selector("#rows tr:nth-child(3)")
        assert "File 1" in details.text_content("#rows tr:nth-child(1)")
        assert wrong in details.text_content("#rows tr:nth-child(1)")
        details.click("#rows tr:nth-child(2) button:has-text('make it different')")
        details.wait_for_selector("#rows tr:nth-child(1) .dissimilar")  # the newest now
        for taken_back in (f"File 1 and {wrong}, different", "tile12.png", "Nothing of yours is left"):
            page.keyboard.press("z")
            page.wait_for_selector(f"#undone:has-text('{taken_back}')")
        (left,) = server.get("answers")["answers"]  # what was said on Details is another person's
        assert (left["file"], left["answer"], left["annotator"]) == (1, "dissimilar", "reviewer")
        assert page.faults == []
        page.close()
        details.close()


def test_a_tile_is_enlarged_beside_the_query_by_a_key_and_a_long_press(browser, server):
    page = opened(browser, server, **WINDOWS[0])
    search_by_name(page, "tile12")
    result(page, 1).locator(".tile").focus()
    name = result(page, 1).locator(".tile").get_attribute("title")
    page.keyboard.press("+")
    page.wait_for_selector("dialog.enlarged[open]")
    captions = page.locator("dialog.enlarged figcaption").all_text_contents()
    assert captions == ["tile12.png", name]
    sides = [image.bounding_box()["width"] for image in page.locator("dialog.enlarged img").all()]
    assert min(sides) >= 500 and is_without_scrolling(page)
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.enlarged", state="detached")
    assert page.evaluate("() => document.activeElement.title") == name and page.url.endswith("#tile=12")
    box = result(page, 2).locator(".tile").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.wait_for_selector("dialog.enlarged[open]")
    page.mouse.up()
    page.keyboard.press("+")
    page.wait_for_selector("dialog.enlarged", state="detached")
    assert page.url.endswith("#tile=12")  # the click that ended the press searched by nothing
    page.keyboard.press("Escape")
    page.locator("#offered .tile").first.focus()
    page.keyboard.press("+")
    page.wait_for_selector("dialog.enlarged[open]")
    assert page.locator("dialog.enlarged img").count() == 1 and page.faults == []
    page.close()


def test_what_is_marked_goes_out_as_copies_a_table_and_places(browser, earth, tmp_path):
    page = opened(browser, earth, **WINDOWS[0])
    page.locator("#offered .tile").first.click()
    page.wait_for_selector("#results li")
    for place, word, mark in ((0, "similar", ".right"), (2, "dissimilar", ".wrong")):
        result(page, place).locator(mark).click()
        page.wait_for_selector(f"#results li.{word}:nth-child({place + 1})")
    names = [one.get_attribute("title") for one in page.locator("#results .tile").all()]

    def saved(label, count):
        with page.expect_download() as download:
            page.click(f"dialog.export button:has-text('{label}')")
        page.wait_for_selector(f"dialog.export .outcome:has-text('Saved {count} tiles')")
        download.value.save_as(tmp_path / download.value.suggested_filename)
        return (tmp_path / download.value.suggested_filename).read_bytes()

    page.click("#export")
    page.fill("#export-count", "5")
    with zipfile.ZipFile(io.BytesIO(saved("Copies of the tiles", 5))) as archive:
        rows = list(csv.DictReader(archive.read("results.csv").decode().splitlines()))
        assert [row["id"] for row in rows] == names[:5]
        assert [row["mark"] for row in rows] == ["right", "", "wrong", "", ""]
        assert {row["query"] for row in rows} == {page.text_content("#heading")}
        for row in rows:
            with Image.open(io.BytesIO(archive.read(row["file"]))) as copy:
                assert min(copy.size) > 0
    page.check("#export-marked")
    table = list(csv.DictReader(saved("Table (CSV)", 2).decode().splitlines()))
    assert [(row["id"], row["mark"]) for row in table] == [(names[0], "right"), (names[2], "wrong")]
    assert table[0]["group"] and not table[1]["group"]  # the query and its right result are one
    places = json.loads(saved("Places (GeoJSON)", 2))["features"]
    assert [place["properties"]["mark"] for place in places] == ["right", "wrong"]
    for place, row in zip(places, table, strict=True):
        west, south, east, north = place["bbox"]
        assert -180 <= west < east and -90 <= south < north <= 90
        assert (west, north) == pytest.approx((float(row["west"]), float(row["north"])))
    assert page.faults == []
    page.close()


def test_a_contradiction_is_shown_at_the_mark_and_names_are_never_markup(browser, tiles_folder, tmp_path):
    flags = (f"--archive=folder:{tiles_folder}", "--backbone=pixels", "--sentence=Same land use")
    with Server(tmp_path / "work", *flags) as server:
        page = opened(browser, server)
        search_by_name(page, "onerror")
        assert page.text_content("#heading").startswith("a<img")
        one, two = (tile_of(result(page, place)) for place in range(2))
        server.volunteer([(0, one), (one, two)])
        result(page, 1).locator(".wrong").click()
        page.click("#contradictions:has-text('1')")
        page.wait_for_selector("#contradiction li")
        assert page.locator("#contradiction li").count() == 3
        assert len(server.get("answers")["answers"]) == 3
        assert page.locator("img[onerror]").count() == 0 and page.faults == []
        page.close()


def test_the_sentence_is_shown_as_text_and_a_mark_under_an_older_one_is_refused(
    browser, tiles_folder, tmp_path
):
    with Server(tmp_path / "work", f"--archive=folder:{tiles_folder}", "--backbone=pixels") as server:
        page = sit_down(browser, server)
        page.goto(server.url)
        search_by_name(page, "tile12")
        page.wait_for_selector("#sentence:has-text('Same land use')")
        server.post("session", {"tab": "tab-of-somebody", "annotator": "Eve", "mode": "none"})
        wild = "Same <b onclick=alert(1)>roof</b>?"
        server.post("sets/begin", {"tab": "tab-of-somebody", "sentence": wild, "key": "begin-another"})
        result(page, 0).locator(".right").click()
        page.wait_for_selector("#trouble:has-text('; reload this page')")
        assert page.text_content("#sentence") == "Same land use"
        assert server.get("state")["num_answers"] == 0
        page.reload()
        page.wait_for_function("() => document.querySelector('#sentence').textContent.includes('roof')")
        assert page.text_content("#sentence") == wild and page.locator("#sentence b, b b").count() == 0
        result(page, 0).locator(".right").click()
        page.wait_for_selector("#results li.similar:first-child")
        assert server.get("state")["num_answers"] == 1 and page.faults == []


@pytest.mark.parametrize("size", [(390, 844), (320, 568), (640, 400)], ids=str)
def test_nothing_is_wider_than_a_phone_or_a_window_at_double_size(browser, server, size):
    width, height = size
    page = opened(browser, server, viewport={"width": width, "height": height}, is_mobile=True)
    for link in page.locator("nav > :visible").all():
        box = link.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width + 1
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    search_by_name(page, "tile12")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    for button in page.locator(".marks button, #back, #earlier, #later, #results .tile").all():
        box = button.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width + 1
        assert min(box["height"], box["width"]) >= 24
    page.close()
