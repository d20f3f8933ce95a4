"""Grids and choices as a person answers them, by keys and by touch, and what the page says meanwhile."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from tests.annotation.scripted import Server
from tests.annotation.web.test_browser import IS_SHOWN, browser, sit_down  # noqa: F401

pytestmark = pytest.mark.browser

KEYS = "123456789abc"
KEEPS_ITS_PLACE = ("#unsure", "#undo", "#stage", "#ask", "#bar", "#summary", "#help")
CLASSES = np.arange(60) % 5


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """60 tiles of five colours."""
    root, rng = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    paint = rng.integers(40, 215, (5, 3))
    for number, kind in enumerate(CLASSES):
        noise = rng.normal(0, 22, (32, 32, 3)) + rng.normal(0, 25, 3)
        Image.fromarray(np.clip(paint[kind] + noise, 0, 255).astype(np.uint8)).save(
            root / f"t{number:02d}.png"
        )
    return root


def tile_of(picture):
    return int(pathlib.Path(picture.get_attribute("src")).stem)


def deserved(page):
    """Return the kind of the glance on the screen, and what it deserves: a key, or the places to pick."""
    page.wait_for_function(IS_SHOWN)
    kind = page.get_attribute("body", "data-kind")
    if kind == "pair":
        same = len({CLASSES[tile_of(page.locator(f"#{side}"))] for side in ("left", "right")}) == 1
        return kind, "similar" if same else "dissimilar"
    subject = CLASSES[tile_of(page.locator("#subject-tile"))]
    shown = page.locator(".other")
    same = [
        CLASSES[tile_of(shown.nth(place).locator("img").first)] == subject for place in range(shown.count())
    ]
    if kind == "grid":
        return kind, [place for place, is_same in enumerate(same) if not is_same]
    return kind, [same.index(True)] if True in same else []


def by_keys(page, kind, said):
    if kind == "pair":
        page.keyboard.press(said[0])
    elif kind == "grid":
        for place in said:
            page.keyboard.press(KEYS[place])
        page.keyboard.press("Enter")
    else:
        page.keyboard.press(KEYS[said[0]] if said else "0")


def by_touch(page, kind, said):
    if kind == "pair":
        page.tap(f"#{said}")
    elif kind == "grid":
        for place in said:
            page.locator(".other").nth(place).tap()
        page.tap("#done")
    elif said:
        page.locator(".other").nth(said[0]).tap()
    else:
        page.tap("#none")


EVERY_KIND = (
    "from anneal_jax.acquisition.beliefs import choose_several, glances; "
    "choose_several.NUM_MIXED = 0; glances.MAX_NEW = glances.SHARPNESS = 0.5; "
    "glances.GRID_MARGIN = 0.3; glances.MIN_TILES = 3"
)
"""Sixty tiles of five plain colours leave nothing to choose among, and too little for grids."""


def teach(page, act, count):
    """Answer glances truthfully; return their kinds, and every place that what should not move has had."""
    kinds, places = [], set()
    for _ in range(count):
        kind, said = deserved(page)
        kinds.append(kind)
        places.add(tuple(tuple(page.locator(name).bounding_box().values()) for name in KEEPS_ITS_PLACE))
        question = page.get_attribute("body", "data-question")
        act(page, kind, said)
        page.wait_for_function("old => document.body.dataset.question !== old", arg=question)
        if {*kinds} == {"pair", "grid", "choice"} and len(kinds) > 12:
            break
    page.wait_for_function("() => document.body.dataset.waiting === '0'")
    return kinds, places


@pytest.mark.parametrize(
    ("act", "options"),
    [
        (by_keys, {"viewport": {"width": 1280, "height": 800}}),
        (by_touch, {"viewport": {"width": 390, "height": 844}, "has_touch": True}),
    ],
    ids=["keys on a desktop", "touch on a phone"],
)
def test_glances_of_every_kind_are_answered_and_nothing_moves_meanwhile(
    browser,  # noqa: F811
    colours,
    tmp_path,
    act,
    options,
):
    with Server(
        tmp_path / "work", f"--archive=folder:{colours}", "--backbone=pixels", before=EVERY_KIND
    ) as server:
        page = sit_down(browser, server, only_pairs=False, **options)
        kinds, places = teach(page, act, 60)
        assert {*kinds} == {"pair", "grid", "choice"} and len(places) == 1
        rows = server.get("answers")["answers"]
        right = [
            (CLASSES[row["first"]] == CLASSES[row["second"]]) == (row["answer"] == "similar")
            for row in rows
        ]
        assert len(rows) > len(kinds) and all(right)
        before, shown = len(rows), page.get_attribute("body", "data-question")
        page.locator("#undo").click()
        page.wait_for_function("old => document.body.dataset.question !== old", arg=shown)
        page.wait_for_function(IS_SHOWN)
        assert page.get_attribute("body", "data-kind") == kinds[-1]
        assert server.get("state")["num_answers"] < before
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth") and page.faults == []


def test_marks_are_moved_to_by_arrows_and_unsure_is_for_every_kind(browser, colours, tmp_path):  # noqa: F811
    flags = (f"--archive=folder:{colours}", "--backbone=pixels")
    with Server(tmp_path / "work", *flags, before=EVERY_KIND) as server:
        page = sit_down(browser, server, only_pairs=False, viewport={"width": 1280, "height": 800})
        while page.get_attribute("body", "data-kind") != "grid":
            teach(page, by_keys, 1)
            page.wait_for_function(IS_SHOWN)
        for key in ("ArrowRight", "ArrowRight", " "):
            page.keyboard.press(key)
        assert page.locator(".other").nth(1).get_attribute("aria-pressed") == "true"
        page.keyboard.press("2")
        assert page.locator(".other[aria-pressed=true]").count() == 0
        question = page.get_attribute("body", "data-question")
        page.keyboard.press("u")
        page.wait_for_function("old => document.body.dataset.question !== old", arg=question)
        page.wait_for_function("() => document.body.dataset.waiting === '0'")
        assert {row["answer"] for row in server.get("answers")["answers"] if row["answer"] == "unsure"}


def test_the_page_says_what_others_do_and_what_six_tiles_find(browser, colours, tmp_path):  # noqa: F811
    with Server(tmp_path / "work", f"--archive=folder:{colours}", "--backbone=pixels") as server:
        page = sit_down(browser, server, only_pairs=False)
        server.volunteer([(0, 5), (5, 10)])
        page.wait_for_function("() => document.querySelector('#answered').textContent === '2 answers'")
        seen = page.locator(".progress").inner_text() + page.locator("#ask").inner_text()
        assert not any(word in seen for word in ("bit", "audit", "belief", "trial", "precision"))
        assert page.locator("#change").evaluate("button => getComputedStyle(button).visibility") == "hidden"
        page.evaluate("document.querySelector('#change').classList.remove('absent')")
        page.click("#change")
        page.wait_for_selector("#changed[open] .query")
        assert (
            page.locator("#strips .query").count() == 6 and page.locator("#strips .found img").count() == 60
        )
        page.keyboard.press("Escape")
        page.wait_for_function("() => !document.querySelector('dialog[open]')")
        assert page.faults == []
