"""Imports point one way: each piece of the package may use the pieces of the chapters before it."""

import ast
import graphlib
import re

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "anneal_jax"

# From the ground up. A piece may import the pieces of earlier chapters and none of its own; only the
# modules of the ground may import each other.
CHAPTERS = [
    {"_version", "config", "errors", "seeds", "text", "types"},
    {"cli", "files", "losses", "pairs"},
    {"answers", "data", "models"},
    {"acquisition", "evaluation", "training"},
    {"experiments", "retrieval"},
    {"exporting", "reporting"},
    {"annotation"},
    {"__init__", "__main__"},
]
# The same inside a folder that has folders; what no chapter names comes after all of them.
INNER_CHAPTERS = {
    "acquisition": [{"beliefs", "scan"}],
    "annotation": [
        {"types"},
        {"refine", "search_by_example", "standing_answers", "tab"},
        {"known_results", "questions"},
        {"open_tabs"},
        {"session"},
        {"doubts", "groups", "learning", "sets"},
        {"web"},
    ],
}

# Files above 400 lines, each with the reason why it is not two files.
LONG_FILES: dict[str, str] = {
    "anneal_jax/annotation/session.py": "every verb of a page, over one state",
    "anneal_jax/answers/store.py": "the verbs of one file, each a line of work below a docstring",
    "tests/answers/test_import_export.py": "one contract, field by field, for CSV and JSON Lines",
    "tests/annotation/web/test_browser.py": "one browser and one server serve all of it",
}

PACKAGE_FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = ("anneal_jax", "benchmarks", "launch", "scripts", "tests")
ALL_FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))


def relative(path):
    return path.relative_to(ROOT).as_posix()


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def places_of(chapters):
    return {piece: place for place, pieces in enumerate(chapters) for piece in pieces}


def piece_of(module, depth=1):
    """Return the folder or module right under the package, such as `pairs` of anneal_jax.pairs.oracle."""
    return [*module.split("."), "__init__"][depth]


def imports_of(path):
    """Return every module of this project that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}, line {node.lineno}: write the whole module name"
            module = node.module or ""
            inner = {f"{module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if is_module(name)} or {module}
    return {name for name in found if name.split(".")[0] in ("anneal_jax", "launch", "tests")}


def is_module(name):
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def wrong_edge(importer, imported):
    """Say why one module may not import the other; None where it may."""
    if not imported.startswith("anneal_jax"):
        return "the package stands on its own"
    lower, upper = piece_of(imported), piece_of(importer)
    if lower == upper:
        return wrong_inner_edge(lower, piece_of(importer, 2), piece_of(imported, 2))
    places = places_of(CHAPTERS)
    if unplaced := {lower, upper} - set(places):
        return f"CHAPTERS has no place for {', '.join(unplaced)}"
    if places[lower] > places[upper]:
        return f"{upper} comes before {lower}"
    if places[lower] == places[upper] > 0:
        return f"{upper} and {lower} are of one chapter and meet only after it"
    return None


def wrong_inner_edge(folder, upper, lower):
    """Say why one piece of a folder may not import another."""
    chapters = INNER_CHAPTERS.get(folder, [])
    places = places_of(chapters)
    above, below = places.get(upper, len(chapters)), places.get(lower, len(chapters))
    if lower != upper and (below > above or below == above < len(chapters)):
        return f"{folder}/{upper} does not come after {folder}/{lower}"
    return None


def test_the_picture_shows_the_chapters():
    picture = (ROOT / "docs/images/chapters.svg").read_text(encoding="utf-8")
    rows = [
        set(re.findall(r'class="piece"[^>]*>(\w+)<', row)) for row in picture.split('<g class="chapter">')
    ]
    assert rows[1:] == [{name for name in chapter if name[0] != "_"} for chapter in CHAPTERS[-2::-1]]


def test_every_piece_has_its_chapter():
    pieces = {piece_of(module_of(path)) for path in PACKAGE_FILES}
    assert pieces == set(places_of(CHAPTERS)), "place each new piece in CHAPTERS, and drop lost ones"
    assert sum(map(len, CHAPTERS)) == len(pieces)
    for folder, chapters in INNER_CHAPTERS.items():
        inner = {path.stem for path in (PACKAGE / folder).iterdir()}
        assert set(places_of(chapters)) <= inner and sum(map(len, chapters)) == len(places_of(chapters))


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=relative)
def test_imports_point_down(path):
    reasons = {name: wrong_edge(module_of(path), name) for name in imports_of(path)}
    assert {name: reason for name, reason in reasons.items() if reason} == {}


def test_imports_run_in_no_circle():
    graph = {module_of(path): imports_of(path) for path in PACKAGE_FILES}
    ordered = list(graphlib.TopologicalSorter(graph).static_order())  # a CycleError names the circle
    assert set(graph) <= set(ordered)


@pytest.mark.parametrize(
    ("importer", "imported", "reason"),
    [
        ("anneal_jax.pairs.oracle", "anneal_jax.training.frozen", "pairs comes before training"),
        ("anneal_jax.types", "anneal_jax.evaluation.metrics", "types comes before evaluation"),
        ("anneal_jax.losses.pair", "anneal_jax.files.atomic", "meet only after it"),
        ("anneal_jax.training.frozen", "anneal_jax.acquisition.scan.grid", "meet only after it"),
        ("anneal_jax.config", "launch.run", "stands on its own"),
        ("anneal_jax.acquisition.scan.grid", "anneal_jax.acquisition.registry", "does not come after"),
        ("anneal_jax.acquisition.scan.grid", "anneal_jax.acquisition.beliefs.state", "does not come after"),
        ("anneal_jax.config", "anneal_jax.errors", None),
        ("anneal_jax.evaluation.metrics", "anneal_jax.evaluation.ranking", None),
        ("anneal_jax.acquisition.registry", "anneal_jax.acquisition.scan.grid", None),
        ("anneal_jax.training.frozen", "anneal_jax.losses.pair", None),
    ],
)
def test_a_wrong_edge_is_found(importer, imported, reason):
    found = wrong_edge(importer, imported)
    assert found == reason or (found and reason and reason in found)


def test_imports_are_found_wherever_they_stand(tmp_path):
    path = tmp_path / "late.py"
    path.write_text(
        "import numpy\nimport anneal_jax.seeds\n"
        "def late():\n  from anneal_jax.files import atomic\n  from anneal_jax.pairs import oracle\n"
    )
    assert imports_of(path) == {"anneal_jax.seeds", "anneal_jax.files.atomic", "anneal_jax.pairs.oracle"}


def test_sub_packages_are_folders_with_an_empty_init():
    folders = {path.parent for path in PACKAGE_FILES} - {PACKAGE}
    assert [relative(f) for f in sorted(folders) if not (f / "__init__.py").is_file()] == []
    assert [relative(f) for f in sorted(folders) if (f / "__init__.py").stat().st_size] == []


def test_no_file_is_long_without_a_reason():
    lengths = {relative(path): len(path.read_text("utf-8").splitlines()) for path in ALL_FILES}
    assert {path for path, length in lengths.items() if length > 600} == set()
    assert {path for path, length in lengths.items() if length > 400} == set(LONG_FILES)
    assert all(LONG_FILES.values())


def test_launch_scripts_only_read_flags_and_call():
    """What takes more than 70 lines belongs in the package, where it can be tested."""
    for path in (ROOT / "launch").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 70, path.name
