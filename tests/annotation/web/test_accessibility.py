# ruff: noqa: F811
"""What a screen reader gets: axe-core finds nothing serious, and tiles have names and states."""

import importlib.resources
import importlib.util

import pytest
from PIL import Image

from anneal_jax.annotation.web.pages import PAGES
from tests.annotation.scripted import Server
from tests.annotation.web.test_browser import IS_SHOWN, browser, sit_down  # noqa: F401
from tests.annotation.web.test_teach_browser import EVERY_KIND, by_keys, colours, deserved  # noqa: F401

pytestmark = pytest.mark.browser

WELCOME = "teach?new"
PLACES = [*(page.path for page in PAGES), WELCOME, "#tile=3"]
"""Every page as it opens, what a new person sees first on one, and results of a search."""

WINDOWS = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def axe():
    """The checker's source, which goes in below the content security policy."""
    if importlib.util.find_spec("axe_playwright_python") is None:
        pytest.skip("needs axe-core (pip install axe-playwright-python); it is absent here")
    return importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module")
def server(tiles_folder, tmp_path_factory):
    flags = (f"--archive=folder:{tiles_folder}", "--backbone=pixels", "--sentence=Same land use")
    with Server(tmp_path_factory.mktemp("axe") / "work", *flags) as served:
        served.volunteer([(3, 9), (3, 14), (9, 20)])
        yield served


def serious_findings(page, part="document"):
    found = page.evaluate(f"() => axe.run({part}, {{ resultTypes: ['violations'] }})")
    return [
        f"{violation['id']}: {violation['help']} ({node['html'][:120]})"
        for violation in found["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place or "search")
def test_axe_finds_nothing_serious(browser, server, axe, place, window):
    page = browser.new_page(**WINDOWS[window])
    if place != WELCOME:
        page.add_init_script("localStorage.setItem('anneal.name', 'Ada')")
    page.goto(server.url + place)
    page.wait_for_load_state("networkidle")
    page.evaluate(axe)
    assert serious_findings(page) == []
    seen = "document.querySelector('dialog[open]') || document.querySelector('main')"
    page.evaluate(f"() => {{ window.added = document.createElement('button'); ({seen}).append(added); }}")
    (nameless,) = serious_findings(page, "added")  # the checker sees what is there
    assert nameless.startswith("button-name: ")
    page.close()


def tree(page):
    """Return what the browser tells a screen reader: role, name and properties of each node."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    return [
        (
            node["role"]["value"],
            node.get("name", {}).get("value", ""),
            {each["name"]: each["value"].get("value") for each in node.get("properties", ())},
        )
        for node in nodes
        if not node["ignored"]
    ]


def named(found, role):
    """Return the properties of the nodes of a role by their names."""
    return {name: properties for has, name, properties in found if has == role}


def test_results_have_names_and_say_whether_they_are_marked(browser, server):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(server.url)
    page.wait_for_selector("#offered .tile")
    tiles = [one.get_attribute("title") for one in page.locator("#offered .tile").all()]
    assert {*tiles} <= named(tree(page), "button").keys()
    page.goto(f"{server.url}#tile=24")
    page.wait_for_selector("#results li")
    first = page.locator("#results .tile").first
    name = first.get_attribute("title")
    for key, word, pressed in (("r", "Right", "right"), ("w", "Wrong", "wrong")):
        first.focus()
        page.keyboard.press(key)
        page.wait_for_selector(f"#results li:first-child .{pressed}[aria-pressed=true]")
        found = tree(page)
        (shown,) = (each for each in named(found, "button") if each.startswith(f"1. {name}"))
        assert shown.startswith(f"1. {name}, {pressed} ")  # with the focus on it, it is read again
        assert named(found, "button")[shown]["focused"]
        states = {each: named(found, "button")[f"{each}: {name}"]["pressed"] for each in ("Right", "Wrong")}
        assert states == {"Right": "false", "Wrong": "false", word: "true"}
    page.keyboard.press("w")
    page.wait_for_selector("#results li:first-child:not(.dissimilar)")
    assert any(each.startswith(f"1. {name} ") for each in named(tree(page), "button"))
    statuses = {properties.get("live") for role, _, properties in tree(page) if role == "status"}
    assert statuses == {"polite"}
    assert all(name for role, name, _ in tree(page) if role in ("button", "link", "image", "slider"))
    page.close()


def test_each_question_is_read_out_and_tiles_of_a_glance_say_whether_they_are_marked(
    browser, colours, tmp_path
):
    flags = (f"--archive=folder:{colours}", "--backbone=pixels")
    with Server(tmp_path / "work", *flags, before=EVERY_KIND) as server:
        page = sit_down(browser, server, only_pairs=False, viewport={"width": 1280, "height": 800})
        kinds, said = set(), []
        for _ in range(60):
            kind, answer = deserved(page)
            found = tree(page)
            said.append(page.text_content("#announced"))
            live = [name for role, name, more in found if more.get("live") == "polite" and role != "status"]
            assert live or page.get_attribute("#announced", "aria-live") == "polite"
            buttons = named(found, "button")
            if kind == "pair":
                assert {"first tile", "second tile"} <= named(found, "image").keys()
                assert {"Similar S", "Different D", "Unsure U"} <= buttons.keys()
            else:
                word = "tile" if kind == "grid" else "group"
                count = page.locator(".other").count()
                shown = [f"{word} {name}" for name in "123456789abc"[:count]]
                assert {*shown} <= buttons.keys() and "this tile" in named(found, "image")
                if kind == "grid" and kind not in kinds:
                    assert all(buttons[name]["pressed"] == "false" for name in shown)
                    page.keyboard.press("2")
                    assert named(tree(page), "button")["tile 2"]["pressed"] == "true"
                    assert page.text_content("#announced") == "tile 2 is not like it"
                    page.keyboard.press("2")
                    assert page.text_content("#announced") == "tile 2 is like it"
                if kind not in kinds:
                    page.locator(".other").first.focus()
                    page.keyboard.press("+")
                    assert f"Enlarged: the first tile, {shown[0]}" in next(
                        iter(named(tree(page), "dialog"))
                    )
                    page.keyboard.press("Escape")
                    page.wait_for_selector("dialog.enlarged", state="detached")
                    assert named(tree(page), "button")[shown[0]]["focused"]
            kinds.add(kind)
            if len(kinds) == 3:
                break
            question = page.get_attribute("body", "data-question")
            by_keys(page, kind, answer)
            page.wait_for_function("old => document.body.dataset.question !== old", arg=question)
        assert kinds == {"pair", "choice", "grid"} and len({*said}) == len(said)
        assert page.faults == []


def test_groups_and_their_tiles_have_names_and_say_which_are_chosen(browser, server):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{server.url}groups")
    page.wait_for_selector(".one")
    assert "Group 1, 4 tiles" in named(tree(page), "region")
    assert "Group 1, tiles" in named(tree(page), "listbox")
    page.locator(".one").first.focus()
    page.keyboard.press("Space")
    options = named(tree(page), "option")
    assert {"tile03.png", "tile09.png", "tile14.png", "tile20.png"} <= options.keys()
    (chosen,) = (name for name, more in options.items() if more.get("selected"))
    assert options[chosen]["focused"] and page.text_content("#chosen") == "1 tile chosen"
    page.close()


def test_the_map_has_a_list_of_its_tiles_which_says_what_is_marked(browser, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    import numpy as np
    import pyarrow as pa

    vectors = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    west, south = np.arange(30) * 3.0 - 45, np.arange(30) % 5 * 2.0
    columns = {"west": west, "south": south, "east": west + 1, "north": south + 1}
    parquet.write_table(pa.table({"embedding": vectors.tolist(), **columns}), tmp_path / "places.parquet")
    (tmp_path / "thumbs").mkdir()  # nobody judges what has no picture
    for row in range(30):
        Image.new("RGB", (16, 16), (8 * row, 90, 40)).save(tmp_path / "thumbs" / f"row{row:02d}.png")
    flags = (f"--archive=embeddings:{tmp_path / 'places.parquet'}", f"--thumbnails={tmp_path / 'thumbs'}")
    with Server(tmp_path / "work", *flags, "--sentence=Same land use") as server:
        server.volunteer([(3, 9)])
        server.volunteer([(3, 12)], "dissimilar")
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{server.url}map")
        page.wait_for_selector("#tiles button")
        assert {f"row{number:02d}" for number in range(30)} <= named(tree(page), "button").keys()
        assert "Map with 30 tiles in view" in named(tree(page), "image")
        page.goto(f"{server.url}map?tile=3")
        page.wait_for_selector("#listed:has-text('29 results')")
        names = {name.split(" ")[1]: name for name in named(tree(page), "button") if "row" in name}
        assert "row09," in names and names["row09,"].endswith("row09, right")
        assert names["row12,"].endswith("row12, wrong") and "row05" in names
        live = page.locator("[aria-live=polite]")
        assert {"asked", "listed"} <= {one.get_attribute("id") for one in live.all()}
        page.close()
