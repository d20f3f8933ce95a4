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
RUNS = {**cases.VECTOR_RUNS, **cases.DIGIT_RUNS}
stored = functools.cache(make.read)


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


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in cases.QUICK else pytest.mark.slow) for name in RUNS],
)
def test_rounds_are_as_they_were(name, tmp_path):
    require_same(cases.rounds(RUNS[name], tmp_path), stored(FILES[name])[name], name)


@pytest.mark.parametrize("name", ["background", "checkpoints", "page", "index", "old", "routes", "help"])
def test_all_else_is_as_it_was(name):
    require_same(make.GOLDEN[name](), stored(name), name)


def test_the_golden_files_are_small():
    sizes = {path.name: path.stat().st_size for path in cases.HERE.iterdir() if path.is_file()}
    assert sum(sizes.values()) < 300_000, sizes
