# ruff: noqa: F811
"""Groups, contradictions and sets as a person uses them: by keys and by pointer, wide and on a phone."""

import pytest

from tests.annotation.scripted import Server
from tests.annotation.web.test_browser import browser, sit_down  # noqa: F401

pytestmark = pytest.mark.browser

WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
GROUPS = [(0, 5), (5, 10), (10, 15), (1, 6), (6, 11), (2, 7)]


@pytest.fixture
def server(tiles_folder, tmp_path):
    """A page before groups of 4, 3 and 2 tiles."""
    flags = (f"--archive=folder:{tiles_folder}", "--backbone=pixels", "--sentence=Same land use")
    with Server(tmp_path / "work", *flags) as server:
        server.volunteer(GROUPS)
        yield server


def open_groups(browser, server, **options):
    page = browser.new_page(**options)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda said: page.faults.append(said.text) if said.type == "error" else None)
    page.add_init_script("localStorage.setItem('anneal.name', 'Ada')")
    page.goto(server.url + "groups")
    page.wait_for_selector(".one")
    return page


def tiles_of(server, tile):
    return sorted(row["tile"] for row in server.get(f"groups/of/{tile}")["tiles"])


def test_a_tile_is_moved_by_keys_alone_and_taken_back(browser, server):
    page = open_groups(browser, server, viewport=WIDE)
    page.focus(".one")
    page.keyboard.press("ArrowRight")
    tile = int(page.evaluate("() => document.activeElement.dataset.id"))
    page.keyboard.press("ArrowDown")  # the group below, and back
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    assert page.text_content("#chosen") == "1 tile chosen"
    page.keyboard.press("m")
    page.wait_for_selector("#target[open]")
    assert page.text_content("#preview") == "Choose a group."
    page.locator("#groups input").nth(1).focus()
    page.keyboard.press("Space")
    page.wait_for_selector("#preview:has-text('Stores')")
    num_before = server.get("state")["num_answers"]
    promised = page.text_content("#preview")
    page.keyboard.press("Enter")
    page.wait_for_selector("#said:has-text('Undo with Z')")
    assert tile in tiles_of(server, 1) and tile not in tiles_of(server, 0 if tile else 5)
    assert promised in page.text_content("#said")
    assert page.evaluate("() => document.activeElement.dataset.id") == str(tile)
    page.keyboard.press("z")
    page.wait_for_selector("#said:has-text('Undone')")
    assert tiles_of(server, 0) == [0, 5, 10, 15] and server.get("state")["num_answers"] == num_before
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.enlarged[open]")
    assert page.faults == []


def test_tiles_are_dragged_split_off_and_merged_by_pointer(browser, server):
    page = open_groups(browser, server, viewport=WIDE)
    page.locator(".one[data-id='15']").drag_to(page.locator("section.group").nth(1).locator("h2"))
    page.wait_for_selector("#preview:has-text('Stores 2 answers, and retracts 1')")
    page.click("#doit")
    page.wait_for_selector("#said:has-text('1 tile moved')")
    assert tiles_of(server, 1) == [1, 6, 11, 15]
    for tile in (11, 15):
        page.click(f".one[data-id='{tile}']")
    page.click("#split")
    page.wait_for_selector("#preview:has-text('Stores')")
    page.click("#target button:has-text('Cancel')")
    assert tiles_of(server, 1) == [1, 6, 11, 15]
    page.click("#split")
    page.click("#doit:enabled")
    page.wait_for_selector("#said:has-text('2 tiles moved')")
    assert tiles_of(server, 1) == [1, 6] and tiles_of(server, 11) == [11, 15]
    page.locator("section[data-tile] button:has-text('Merge')").first.click()
    page.locator("#groups label").first.click()
    page.wait_for_selector("#preview:has-text('Stores')")
    page.click("#doit")
    page.wait_for_selector("#said:has-text('merged')")
    assert server.get("groups/wall")["num_groups"] == 3 and page.faults == []


def test_a_phone_moves_tiles_by_taps_and_a_page_at_200_percent_keeps_them_large(browser, server):
    page = open_groups(browser, server, viewport=PHONE, has_touch=True, is_mobile=True)
    page.tap(".one[data-id='10']")
    page.tap("#move")
    page.tap("#groups label:has-text('Group 3')")
    page.wait_for_selector("#preview:has-text('Stores')")
    page.tap("#doit")
    page.wait_for_selector("#said:has-text('1 tile moved')")
    assert tiles_of(server, 2) == [2, 7, 10]
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    zoomed = open_groups(browser, server, viewport={"width": 640, "height": 400})  # as 1280 at 200%
    assert zoomed.locator(".one").first.bounding_box()["width"] >= 200
    assert zoomed.evaluate("() => document.documentElement.scrollWidth") <= 640
    assert page.faults == zoomed.faults == []


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_contradictions_are_looked_at_beside_the_questions(browser, server, size):
    server.volunteer([(0, 15), (1, 11)], "dissimilar")
    page = sit_down(browser, server, viewport=size)
    page.keyboard.press("x")
    page.wait_for_selector("#contradiction h2:has-text('1 of 2')")
    panel, stage = (page.locator(name).bounding_box() for name in ("#contradiction", "#stage"))
    is_left = stage["x"] + stage["width"] <= panel["x"] + 1
    assert is_left or stage["y"] + stage["height"] <= panel["y"] + 1
    page.keyboard.press("+")
    assert page.locator("#contradiction .two.zoomed").count() == 1
    page.keyboard.press("l")
    page.wait_for_selector("#contradiction h2:has-text('2 of 2')")
    num_answers = server.get("state")["num_answers"]
    page.keyboard.press("u")  # the question beside
    page.wait_for_selector("#saved:has-text('✓')")
    assert server.get("state")["num_answers"] == num_answers + 1
    page.focus("#contradiction li button")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("m")
    page.wait_for_selector("#contradiction h2:has-text('A contradiction')")
    page.keyboard.press("Escape")
    page.wait_for_selector("#contradiction", state="hidden")
    assert page.text_content("#contradictions") == "⚠ 1" and page.faults == []


def test_sets_are_renamed_begun_left_gone_back_to_and_taken_back(browser, server):
    page = open_groups(browser, server, viewport=WIDE)
    num_answers = server.get("state")["num_answers"]
    page.click("#sentence")
    page.fill(".sets form:nth-of-type(1) input", "Same use of land")
    page.click(f".sets button:has-text('keep the {num_answers} answers')")
    page.wait_for_selector("#sentence:has-text('Same use of land')")
    assert server.get("state")["num_answers"] == num_answers
    for choice in ("Cancel", "Begin the new set"):
        page.click("#sentence")
        page.fill(".sets form:nth-of-type(2) input", "Same crop")
        page.click(".sets button:has-text('New set')")
        page.click(f".asking button:has-text('{choice}')")
        if choice == "Cancel":
            page.keyboard.press("Escape")
            assert server.get("state")["sentence"] == "Same use of land"
    page.wait_for_selector("#sentence:has-text('Same crop')")
    assert server.get("state")["num_answers"] == 0
    page.click("#sentence")
    page.click(".sets li:has-text('Same use of land') button")
    page.wait_for_selector("section.group")
    for sentence in ("Same crop", "Same use of land", "Same land use"):
        page.keyboard.press("z")
        page.wait_for_selector(f"#sentence:has-text('{sentence}')")
    assert server.get("state")["num_answers"] == num_answers and page.faults == []
