"""What the code leaves is what the golden files hold: the same choices, counts, replies and figures.

Choices, texts and counts are compared exactly, fractions to 1e-5 of their size, since another machine may
add in another order. `python -m tests.golden.make` writes the files anew.
"""

import functools

import pytest

from tests.conftest import ROOT
from tests.golden import cases, make

pytest.importorskip("httpx", reason="needs the extra dev: pip install 'anneal-jax[dev]'")

FILES = {
    **dict.fromkeys(cases.VECTOR_RUNS, "rounds_vectors"),
    **dict.fromkeys(cases.DIGIT_RUNS, "rounds_digits"),
}
stored = functools.cache(make.read)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run a case when it is first wanted; return what is compared and its workdir."""

    @functools.cache
    def of(name):
        workdir = tmp_path_factory.mktemp("golden") / "run"
        return cases.rounds(cases.RUNS[name], workdir), workdir

    return of


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    """The archive of the cases is a path below the root of the project."""
    monkeypatch.chdir(ROOT)


def require_same(found, expected, where):
    """Compare values of JSON; an error names the place in the file."""
    if isinstance(expected, float) and isinstance(found, float):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6), where
        return
    assert type(found) is type(expected), where
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for name, value in expected.items():
            require_same(found[name], value, f"{where}, {name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for place, value in enumerate(expected):
            require_same(found[place], value, f"{where}, {place}")
    else:
        assert found == expected, where


def marks(name):
    """Return what keeps a run out of `make test`, if it is to be."""
    if name in cases.QUICK:
        return []
    return pytest.mark.soak if name in cases.LONG else pytest.mark.slow


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in cases.RUNS])
def test_rounds_are_as_they_were(name, ran):
    require_same(ran(name)[0], stored(FILES[name])[name], name)


def test_checkpoints_are_as_they_were(ran):
    found = {name: cases.checkpoint(ran(run)[1]) for name, run in cases.SAVED.items()}
    require_same(found, stored("checkpoints"), "checkpoints")


@pytest.mark.parametrize("name", ["background", "page", "index", "old", "routes", "help"])
def test_all_else_is_as_it_was(name):
    require_same(make.GOLDEN[name](), stored(name), name)


def test_the_golden_files_are_small():
    sizes = {path.name: path.stat().st_size for path in cases.HERE.iterdir() if path.is_file()}
    assert sum(sizes.values()) < 300_000, sizes
