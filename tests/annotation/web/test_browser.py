"""The page as a person uses it: Debian's Chromium, keys, real UC Merced tiles."""

import pathlib
import shutil
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from anneal_jax.data.archives import open_archive
from tests.annotation.scripted import Server

pytestmark = pytest.mark.browser

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SLOW = {"offline": False, "latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 20_000}
IS_SHOWN = "() => document.body.dataset.question && document.querySelector('#stage.ready')"
NUM_ANSWERS = "() => parseInt(document.querySelector('#counters').textContent.replace(',', ''))"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright; it is absent here")
    if CHROMIUM is None:
        pytest.skip("needs Chromium (on Debian: apt-get install chromium); it is absent here")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def ucm(ucm_dir, mobilenet_weights, tmp_path_factory):
    """Twelve tiles of each class: their labels, and the flags of a page about them."""
    folder = tmp_path_factory.mktemp("ucm")
    for path in (path for name in ucm_dir.iterdir() for path in sorted(name.iterdir())[:12]):
        (folder / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, folder / path.parent.name)
    labels = open_archive(f"folder:{folder}").labels
    assert labels is not None
    flags = (f"--archive=folder:{folder}", "--backbone=mobilenet_v2", f"--pretrained={mobilenet_weights}")
    return labels, flags


def sit_down(browser, server, name="Ada", *, only_pairs=True, **options):
    page = browser.new_page(**options)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on(
        "console", lambda said: page.faults.append(said.text) if "Content Security" in said.text else None
    )
    page.goto(server.url + "teach")
    page.fill("#name", name)
    if page.is_enabled("#meaning"):  # nobody has said it yet
        page.fill("#meaning", "Same land use")
    page.click("#welcome button")
    page.wait_for_function(IS_SHOWN)
    if only_pairs:
        page.click("#summary")
        page.check("#pairs")
        page.click("#summary")
        page.wait_for_function("() => document.body.dataset.kind === 'pair'")
        page.wait_for_function(IS_SHOWN)
    return page


def answer(page, labels, key=None):
    """Press the key that the two tiles on the screen deserve."""
    page.wait_for_function(IS_SHOWN)
    question = page.get_attribute("body", "data-question")
    tiles = [int(pathlib.Path(page.get_attribute(f"#{side}", "src")).stem) for side in ("left", "right")]
    page.keyboard.press(key or ("s" if labels[tiles[0]] == labels[tiles[1]] else "d"))
    page.wait_for_function("old => document.body.dataset.question !== old", arg=question)
    return tuple(sorted(tiles))


def sides(page):
    """Return the names of the pictures on the left and on the right."""
    return [pathlib.Path(page.get_attribute(f"#{side}", "src")).name for side in ("left", "right")]


def saved(page, count):
    page.wait_for_function("() => document.body.dataset.waiting === '0'")
    page.wait_for_function(f"count => ({NUM_ANSWERS})() === count", arg=count)


def test_a_hundred_answers_by_keys_undo_and_restart(browser, ucm, tmp_path):
    labels, flags = ucm
    with Server(tmp_path / "work", *flags) as server:
        page = sit_down(browser, server, viewport={"width": 1280, "height": 800})
        asked = [answer(page, labels) for _ in range(100)]
        saved(page, 100)
        assert page.text_content("#saved") == "✓ saved"
        for step in range(3):
            page.keyboard.press("z")
            saved(page, 99 - step)
        page.wait_for_function(IS_SHOWN)
        shown = [
            int(pathlib.Path(page.get_attribute(f"#{side}", "src")).stem) for side in ("left", "right")
        ]
        assert tuple(sorted(shown)) in asked[-5:]
        assert page.faults == []
    with Server(tmp_path / "work") as server:  # killed, and started again; the workdir knows the rest
        page = browser.new_page()
        page.goto(server.url + "teach")
        page.fill("#name", "Ada")
        assert page.input_value("#meaning") == "Same land use"
        page.click("#welcome button")
        saved(page, 97)
        page.keyboard.press("z")
        saved(page, 96)
        page.goto(server.url + "details")
        page.wait_for_function("() => document.querySelectorAll('#rows tr').length === 96")
        page.click("#rows img")
        page.wait_for_function("() => document.querySelectorAll('#strip figure').length === 11")


def test_a_contradiction_is_shown_at_the_click_and_resolved(browser, ucm, tmp_path):
    _, flags = ucm
    with Server(tmp_path / "work", *flags) as server:
        page = sit_down(browser, server)
        answer(page, np.zeros(3_000), "u")
        one, two, three = 7, *(row["tile"] for row in server.get("neighbours/7")["neighbours"][:2])
        views = server.volunteer([(one, two), (two, three)])
        assert [view["conflict"] for view in views] == [None, None]
        page.goto(server.url + "details")
        page.click(f"#rows img[src='tile/{one}.jpg']")
        page.click("#strip figure:nth-child(3) button:has-text('different')")
        page.click("#contradictions:has-text('⚠ 1')")
        page.wait_for_selector("#contradiction li")
        assert page.locator("#contradiction li").count() == 3
        assert page.locator("#contradiction img").count() == 6
        page.click("#contradiction button:has-text('Decide later')")
        page.wait_for_selector("#contradiction", state="hidden")
        page.goto(server.url + "teach")
        page.wait_for_function(IS_SHOWN)
        assert page.text_content("#contradictions") == "⚠ 1"
        page.click("#contradictions")
        page.wait_for_selector("#contradiction li")
        words = page.locator("#contradiction .word").all_text_contents()
        assert sorted(words) == ["different", "similar", "similar"]
        answer(page, np.zeros(3_000), "u")  # the questions go on beside it
        page.click("#contradiction li:has(.dissimilar) button:has-text('Take it back')")
        page.wait_for_selector("#contradictions", state="hidden")
        page.wait_for_selector("#contradiction", state="hidden")
        saved(page, 4)
        assert page.faults == []


def test_two_tabs_are_asked_different_pairs_and_nothing_is_doubled(browser, ucm, tmp_path):
    labels, flags = ucm
    with Server(tmp_path / "work", *flags) as server:
        pages = [sit_down(browser, server, name) for name in ("Ada", "Bob")]
        asked = [answer(page, labels) for _ in range(15) for page in pages]
        for page in pages:
            page.wait_for_function("() => document.body.dataset.waiting === '0'")
        assert len(set(asked)) == 30
        rows = server.get("answers")["answers"]
        assert len(rows) == 30 and {row["annotator"] for row in rows} == {"Ada", "Bob"}


def test_a_slow_and_broken_network_loses_and_doubles_nothing(browser, ucm, tmp_path):
    labels, flags = ucm
    rng = np.random.default_rng(0)
    with Server(tmp_path / "work", *flags) as server:
        page = sit_down(browser, server)

        def slow(route):
            page.wait_for_timeout(int(rng.integers(20, 200)))
            fate = rng.random()
            if fate < 0.2:  # lost on the way there
                route.abort()
            elif fate < 0.4:  # stored, and the reply lost on the way back
                route.fetch()
                route.abort()
            else:
                route.continue_()

        page.route("**/answer", slow)
        for _ in range(20):
            answer(page, labels)
        page.wait_for_function("() => document.body.dataset.waiting === '0'", timeout=120_000)
        saved(page, 20)
        rows = server.get("answers")["answers"]
        assert len(rows) == len({(row["first"], row["second"]) for row in rows}) == 20


def test_a_slow_line_shows_what_is_asked_and_ticks_what_is_stored(browser, ucm, tmp_path):
    labels, flags = ucm
    with Server(tmp_path / "work", *flags) as server:
        page = sit_down(browser, server)
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", SLOW)  # as a bad mobile network: 400 ms, 50 kB/s
        for _ in range(8):
            answer(page, labels)
        saved(page, 8)
        assert page.text_content("#saved") == "✓ saved" and page.faults == []
        assert len(server.get("answers")["answers"]) == 8


def test_zoom_is_linked_and_a_flip_swaps_and_help_opens(browser, ucm, tmp_path):
    _, flags = ucm
    with Server(tmp_path / "work", *flags) as server:
        page = sit_down(browser, server, viewport={"width": 1280, "height": 800})
        style = "side => getComputedStyle(document.querySelector(side)).transform"
        before = sides(page)
        page.click("#left", position={"x": 60, "y": 90})
        assert page.evaluate(style, "#left") == page.evaluate(style, "#right") != "matrix(1, 0, 0, 1, 0, 0)"
        page.keyboard.press("0")
        assert page.evaluate(style, "#right") == "matrix(1, 0, 0, 1, 0, 0)"
        page.keyboard.press("f")
        assert sides(page) == before[::-1]
        page.keyboard.press("?")
        page.wait_for_selector("#helping[open]")
        page.keyboard.press("s")  # no answer is given behind a dialog
        page.click("#helping button")
        assert server.get("state")["num_answers"] == 0


def swipe(page, across, down):
    """Draw a finger over the middle of the first tile."""
    page.wait_for_function(IS_SHOWN)
    box = page.locator("#left").bounding_box()
    left, top = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = page.context.new_cdp_session(page)
    for kind, share in (("touchStart", 0), ("touchMove", 0.5), ("touchMove", 1), ("touchEnd", None)):
        points = [] if share is None else [{"x": left + share * across, "y": top + share * down}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


@pytest.mark.parametrize("size", [(390, 844), (844, 390), (1280, 800), (320, 568)], ids=str)
def test_everything_fits_the_screen_and_swipes_answer(browser, ucm, tmp_path, size):
    _, flags = ucm
    width, height = size
    with Server(tmp_path / "work", *flags) as server:
        page = sit_down(
            browser, server, viewport={"width": width, "height": height}, has_touch=True, is_mobile=True
        )
        for name in (
            "#left", "#right", "#similar", "#dissimilar", "#unsure", "#undo", "#sentence", "#flip"
        ):  # fmt: skip
            box = page.locator(name).bounding_box()
            assert box and box["x"] >= 0 and box["y"] >= 0, name
            assert box["x"] + box["width"] <= width + 1 and box["y"] + box["height"] <= height + 1, name
        boxes = [page.locator(f"#{side}").bounding_box() for side in ("left", "right")]
        assert boxes[0]["width"] == boxes[1]["width"] >= 0.33 * min(size)
        for number, way in enumerate(((-120, 0), (120, 0), (0, -120)), start=1):
            swipe(page, *way)
            saved(page, number)
        words = [row["answer"] for row in server.get("answers")["answers"]]
        assert words == ["unsure", "similar", "dissimilar"]  # the newest first


def touch(page, *fingers, at_s=0.0):
    """Put fingers down, each at (x, y) or drawn from there to (to_x, to_y), and lift them.

    Times are given to the browser, so that a busy machine makes no two taps of one, nor one of two.
    """
    session = page.context.new_cdp_session(page)
    start_s = time.time() + at_s
    for turn, (kind, place) in enumerate(
        (("touchStart", slice(0, 2)), ("touchMove", slice(-2, None)), ("touchEnd", None))
    ):
        points = [
            dict(zip(("x", "y"), finger[place], strict=True), id=number)
            for number, finger in enumerate(fingers if place else [])
        ]
        event = {"type": kind, "touchPoints": points, "timestamp": start_s + 0.02 * turn}
        session.send("Input.dispatchTouchEvent", event)


def tap_twice(page, place, *, apart_s=0.2):
    start_s = time.time()
    for number in range(2):
        touch(page, place, at_s=start_s + number * apart_s - time.time())


@pytest.mark.parametrize("size", [(390, 844), (844, 390)], ids=str)
def test_two_taps_zoom_both_tiles_a_finger_moves_them_and_a_button_flips(
    browser, tiles_folder, tmp_path, size
):
    width, height = size
    with Server(tmp_path / "work", f"--archive=folder:{tiles_folder}", "--backbone=pixels") as server:
        page = sit_down(
            browser, server, viewport={"width": width, "height": height}, has_touch=True, is_mobile=True
        )
        flat = "matrix(1, 0, 0, 1, 0, 0)"

        def transforms():
            style = "side => getComputedStyle(document.querySelector(side)).transform"
            return page.evaluate(style, "#left"), page.evaluate(style, "#right")

        box = page.locator("#left").bounding_box()
        near = box["x"] + box["width"] / 3, box["y"] + box["height"] / 3
        tap_twice(page, near, apart_s=0.6)  # too late for the second of two
        assert transforms() == (flat, flat)
        page.wait_for_timeout(500)
        tap_twice(page, near)
        zoomed = transforms()
        assert zoomed[0] == zoomed[1] != flat
        touch(page, (*near, near[0] - 100, near[1] - 100))
        moved = transforms()
        assert moved[0] == moved[1] != zoomed[0]
        tap_twice(page, near)
        assert transforms() == (flat, flat)
        # Two fingers that part are no swipe of either.
        touch(page, (*near, near[0] - 90, near[1]), (near[0] + 20, near[1], near[0] + 110, near[1]))
        shown = sides(page)
        page.tap("#flip")
        assert sides(page) == shown[::-1]
        page.tap("#flip")
        assert sides(page) == shown
        assert server.get("state")["num_answers"] == 0 and page.faults == []
        touch(page, (*near, near[0] + 120, near[1]))
        saved(page, 1)  # where nothing is zoomed a finger answers


def test_names_of_files_are_never_markup(browser, tiles_folder, tmp_path):
    with Server(tmp_path / "work", f"--archive=folder:{tiles_folder}") as server:
        page = sit_down(browser, server, name="<b>Ada</b>")
        for _ in range(40):
            answer(page, np.zeros(60), "u")
        page.goto(server.url + "details")
        page.wait_for_function("() => document.querySelectorAll('#rows tr').length === 40")
        assert "<b>Ada</b>" in page.text_content("#rows")
        assert page.locator("#rows b").count() == 0 and page.locator("img[onerror]").count() == 0
        assert page.faults == []


CLICK_TWICE = "one => { one.click(); one.click(); }"


def test_two_clicks_on_a_button_of_the_review_are_one_answer(browser, tiles_folder, tmp_path):
    with Server(tmp_path / "work", f"--archive=folder:{tiles_folder}", "--backbone=pixels") as server:
        page = sit_down(browser, server)
        answer(page, np.zeros(60), "s")
        saved(page, 1)
        page.goto(server.url + "details")
        page.locator("#rows button:has-text('make it different')").evaluate(CLICK_TWICE)
        page.wait_for_selector("#rows button:has-text('make it similar')")
        page.wait_for_load_state("networkidle")
        (said,) = server.get("answers")["answers"]
        assert said["answer"] == "dissimilar" and server.get("state")["bits_spent"] == 2
        page.click("#rows img")
        page.wait_for_function("() => document.querySelectorAll('#strip figure').length === 11")
        for count in (2, 3):  # a click after that is another answer
            page.evaluate("() => { document.querySelector('#strip figure').id = 'old'; }")
            page.locator("#strip figure:nth-child(4) button:has-text('similar')").evaluate(CLICK_TWICE)
            page.wait_for_function(f"() => document.querySelectorAll('#rows tr').length === {count}")
            page.wait_for_function("() => !document.querySelector('#old')")  # buttons with other keys
            assert server.get("state")["num_answers"] == count
        assert page.is_hidden("#trouble") and page.faults == []


def test_an_unsure_answer_is_made_either_in_the_review(browser, tiles_folder, tmp_path):
    with Server(tmp_path / "work", f"--archive=folder:{tiles_folder}", "--backbone=pixels") as server:
        page = sit_down(browser, server)
        for _ in range(2):
            answer(page, np.zeros(60), "u")
        saved(page, 2)
        page.goto(server.url + "details")
        for count, word in enumerate(("similar", "different"), start=1):
            page.locator(f"#rows tr:has(.unsure) button:has-text('make it {word}')").first.click()
            page.wait_for_function(
                f"() => document.querySelectorAll('#rows .unsure').length === {2 - count}"
            )
        words = {row["answer"] for row in server.get("answers")["answers"]}
        assert words == {"similar", "dissimilar"} and page.faults == []


def test_escape_begins_no_new_set(browser, tiles_folder, tmp_path):
    with Server(tmp_path / "work", f"--archive=folder:{tiles_folder}", "--backbone=pixels") as server:
        page = sit_down(browser, server)
        answer(page, np.zeros(60))
        saved(page, 1)
        page.click("#sentence")
        page.fill(".sets form:nth-of-type(2) input", "Something else")
        page.keyboard.press("Enter")
        page.wait_for_selector(".asking button:has-text('Begin the new set')")
        page.keyboard.press("Escape")
        page.wait_for_function("() => !document.querySelector('dialog[open]')")
        answer(page, np.zeros(60))
        saved(page, 2)
        assert page.text_content("#sentence") == server.get("state")["sentence"] == "Same land use"


def test_vectors_without_pictures_are_searched_by_name_and_with_them_judged(browser, tmp_path):
    vectors = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    names = [f"tile-{number:02d}" for number in range(40)]
    pq.write_table(pa.table({"id": names, "embedding": list(vectors)}), tmp_path / "e.parquet")
    archive = f"--archive=embeddings:{tmp_path / 'e.parquet'}"
    with Server(tmp_path / "work", archive, "--sentence=Alike?") as server:
        page = browser.new_page()
        page.goto(server.url + "teach")
        page.fill("#name", "Ada")
        page.click("#welcome button")
        page.wait_for_selector("#empty:not([hidden])")
        assert page.text_content("#empty").startswith("These vectors have no pictures, so nobody can judge")
        assert not page.is_visible("#left") and not page.is_visible("#right")
        for key in "sdu":
            page.keyboard.press(key)
        assert page.get_attribute("body", "data-waiting") in (None, "0")
        page.goto(server.url)
        page.fill("#text", "tile-07")
        page.click("#offered .tile >> nth=0")
        page.wait_for_selector("#results img")
        assert page.text_content("#trouble") == ""
    for name in names:
        Image.new("RGB", (16, 16), (200, 10, 10)).save(tmp_path / f"{name}.png")
    with Server(tmp_path / "work", f"--thumbnails={tmp_path}") as server:
        page = browser.new_page()
        page.goto(server.url + "teach")
        page.fill("#name", "Ada")
        page.click("#welcome button")
        page.wait_for_function(IS_SHOWN)
        page.keyboard.press("s")
        page.wait_for_function(f"() => ({NUM_ANSWERS})() === 1")
