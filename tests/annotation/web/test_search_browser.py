# ruff: noqa: F811
"""The search page as a person uses it: a name, a file, a drop, marks; in a wide window and on a phone."""

import base64
import io

import pytest
from PIL import Image

from tests.annotation.scripted import Server
from tests.annotation.web.test_browser import browser, sit_down  # noqa: F401

pytestmark = pytest.mark.browser

DROP = """([place, encoded, name]) => {
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  const dropped = new DragEvent("drop", { dataTransfer: transfer, bubbles: true });
  document.querySelector(place).dispatchEvent(dropped);
}"""


def figure(page, place):
    return page.locator("#results figure").nth(place)


def tile_of(shown):
    return int(shown.locator("img").get_attribute("src").split("/")[1].split(".")[0])


def search_by_name(page, name):
    page.fill("#text", name)
    page.wait_for_function("() => document.querySelectorAll('#offered button').length === 1")
    page.click("#offered button")
    page.wait_for_selector(f"#heading:has-text('{name}')")
    page.wait_for_function("() => document.querySelectorAll('#results figure').length === 24")


def test_a_name_a_file_and_a_drop_are_searched_and_marks_are_answers(browser, tiles_folder, tmp_path):
    with Server(tmp_path / "work", f"--archive=folder:{tiles_folder}") as server:
        page = sit_down(browser, server, viewport={"width": 1280, "height": 900})
        page.click("nav a:has-text('Search')")
        search_by_name(page, "tile12")
        assert "no model was trained" in page.text_content("#facts")
        best = tile_of(figure(page, 0))
        figure(page, 0).locator("button:has-text('right')").click()
        figure(page, 0).locator(".word.similar").wait_for()
        (said,) = server.get("answers")["answers"]
        assert (said["kind"], said["answer"], said["annotator"]) == ("volunteered", "similar", "Ada")
        assert {said["first"], said["second"]} == {12, best}
        page.wait_for_function("() => document.querySelectorAll('#answers figure').length === 1")
        figure(page, 0).locator("button:has-text('take back')").click()
        figure(page, 0).locator("button:has-text('right')").wait_for()
        assert server.get("answers")["answers"] == []

        # A file that is a tile is that tile; any other one gets a result to stand for it.
        page.set_input_files("#file", tiles_folder / "tile30.png")
        page.wait_for_selector("#asked:has-text('this very file is tile30.png')")
        with Image.open(tiles_folder / "tile30.png") as image, io.BytesIO() as turned:
            image.transpose(Image.Transpose.ROTATE_180).save(turned, "PNG")
            encoded = base64.b64encode(turned.getvalue()).decode()
        page.evaluate(DROP, ["#results", encoded, "turned.png"])
        page.wait_for_selector("#explained:has-text('no answer can name it')")
        assert page.locator("#results button:has-text('wrong')").count() == 0
        anchor, other = tile_of(figure(page, 1)), tile_of(figure(page, 3))
        figure(page, 1).locator("button:has-text('alike')").click()
        page.wait_for_selector("#results figure.anchor")
        figure(page, 3).locator("button:has-text('wrong')").evaluate("one => { one.click(); one.click(); }")
        figure(page, 3).locator(".word.dissimilar").wait_for()
        page.wait_for_load_state("networkidle")
        (said,) = server.get("answers")["answers"]
        assert said["answer"] == "dissimilar" and {said["first"], said["second"]} == {anchor, other}

        page.evaluate(DROP, ["body", base64.b64encode(b"no image").decode(), "notes.txt"])
        page.wait_for_selector(
            "#trouble:has-text('is no JPEG, PNG, TIFF, WebP, JPEG 2000 or BMP file inside')"
        )
        assert page.text_content("#asked") == "turned.png"
        assert page.faults == []


def test_a_contradiction_is_shown_at_the_mark_and_names_are_never_markup(browser, tiles_folder, tmp_path):
    with Server(tmp_path / "work", f"--archive=folder:{tiles_folder}") as server:
        page = sit_down(browser, server)
        page.goto(server.url)
        search_by_name(page, "onerror")
        assert page.text_content("#heading").startswith("Most similar to a<img")
        one, two = (tile_of(figure(page, place)) for place in range(2))
        server.volunteer([(0, one), (one, two)])
        figure(page, 1).locator("button:has-text('wrong')").click()
        page.wait_for_selector("#contradiction[open]")
        assert page.locator("#chain li").count() == 3
        page.click("#chain li:last-child button")
        figure(page, 1).locator(".word:has-text('right, follows')").wait_for()
        assert len(server.get("answers")["answers"]) == 2
        assert page.locator("img[onerror]").count() == 0 and page.faults == []


def test_the_sentence_is_shown_as_text_and_a_mark_under_an_older_one_is_refused(
    browser, tiles_folder, tmp_path
):
    with Server(tmp_path / "work", f"--archive=folder:{tiles_folder}", "--backbone=pixels") as server:
        page = sit_down(browser, server)
        page.goto(server.url)
        page.wait_for_selector("#sentence:has-text('Same land use')")
        search_by_name(page, "tile12")
        server.post("session", {"tab": "tab-of-somebody", "annotator": "Eve", "mode": "none"})
        wild = "Same <b onclick=alert(1)>roof</b>?"
        server.post("sentence", {"tab": "tab-of-somebody", "sentence": wild})
        figure(page, 0).locator("button:has-text('right')").click()
        page.wait_for_selector("#trouble:has-text('by now; load this page again')")
        assert page.text_content("#sentence") == "Same land use"
        assert server.get("state")["num_answers"] == 0
        page.reload()
        page.wait_for_function("() => document.querySelector('#sentence').textContent.includes('roof')")
        assert page.text_content("#sentence") == wild and page.locator("#sentence b, b b").count() == 0
        search_by_name(page, "tile12")
        assert page.text_content("#sentence") == wild
        figure(page, 0).locator("button:has-text('right')").click()
        figure(page, 0).locator(".word.similar").wait_for()
        assert server.get("state")["num_answers"] == 1 and page.faults == []


@pytest.mark.parametrize("size", [(390, 844), (320, 568)], ids=str)
def test_nothing_is_wider_than_a_phone(browser, tiles_folder, tmp_path, size):
    width, height = size
    with Server(tmp_path / "work", f"--archive=folder:{tiles_folder}") as server:
        page = sit_down(browser, server, viewport={"width": width, "height": height}, is_mobile=True)
        for link in page.locator("nav > :visible").all():
            box = link.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width + 1
        page.goto(server.url)
        search_by_name(page, "tile12")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        for button in page.locator(".marks button, #choose, #others").all():
            box = button.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width + 1 and box["height"] >= 28
