# ruff: noqa: F811
"""What axe-core, a checker of accessibility, finds on every page: nothing serious, on any screen."""

import importlib.resources
import importlib.util

import pytest

from anneal_jax.annotation.web.pages import PAGES
from tests.annotation.scripted import Server
from tests.annotation.web.test_browser import browser  # noqa: F401

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


def serious_findings(page, axe):
    page.evaluate(axe)
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
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
    assert serious_findings(page, axe) == []
    seen = "document.querySelector('dialog[open]') || document.querySelector('main')"
    page.evaluate(f"() => ({seen}).append(document.createElement('button'))")
    (nameless,) = serious_findings(page, axe)  # the checker sees what is there
    assert nameless.startswith("button-name: ")
    page.close()
