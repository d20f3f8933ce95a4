"""Imports point one way: each piece of the package may use the pieces of the layers below it."""

import ast
import graphlib
import re

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "anneal_jax"

# From the ground up. Folders of one layer never import each other; single modules of one layer may.
LAYERS = [
    {
        "_version",
        "atomic",
        "config",
        "errors",
        "integrity",
        "run_log",
        "seeds",
        "tables",
        "text",
        "threads",
        "types",
    },
    {
        "calibration",
        "data",
        "learning_curves",
        "losses",
        "metrics",
        "models",
        "pairs",
        "ranking",
        "statistics",
    },
    {"acquisition", "retrieval", "training"},
    {
        "annotated",
        "cell_records",
        "comparison",
        "duplicates",
        "embedder",
        "evaluation",
        "experiment",
        "interview",
        "label_experiment",
        "outcome",
        "pretraining",
        "problem",
        "processes",
        "queries",
        "query_results",
        "selection",
        "systems",
        "workdir",
        "workers",
    },
    {"annotation", "exporting", "reporting"},
    {"__init__", "__main__", "cli", "cli_help", "terminal"},
]
LAYER_OF = {piece: layer for layer, pieces in enumerate(LAYERS) for piece in pieces}

# Files above 400 lines, each with the reason why it is not two files.
LONG_FILES: dict[str, str] = {}

PACKAGE_FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = ("anneal_jax", "benchmarks", "launch", "scripts", "tests")
ALL_FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))


def relative(path):
    return path.relative_to(ROOT).as_posix()


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def piece_of(module):
    """Return the folder or module right under the package, such as `pairs` of anneal_jax.pairs.store."""
    return [*module.split("."), "__init__"][1]


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
        return None
    if unplaced := {lower, upper} - set(LAYER_OF):
        return f"LAYERS has no place for {', '.join(unplaced)}"
    if LAYER_OF[lower] > LAYER_OF[upper]:
        return f"{upper} lies below {lower}"
    has_folder = (PACKAGE / lower).is_dir() or (PACKAGE / upper).is_dir()
    if LAYER_OF[lower] == LAYER_OF[upper] and has_folder:
        return f"{upper} and {lower} lie on one level and meet only above"
    return None


def test_every_piece_has_its_layer():
    pieces = {piece_of(module_of(path)) for path in PACKAGE_FILES}
    assert pieces == set(LAYER_OF), "place each new piece of the package in LAYERS, and drop lost ones"
    assert sum(map(len, LAYERS)) == len(LAYER_OF)


def test_the_page_of_the_design_names_every_piece_in_its_layer():
    page = (ROOT / "docs" / "design.md").read_text("utf-8").partition("fails on a wrong edge:")[2]
    named = [set(re.findall(r"\w+", part)) for part in page.strip().partition("\n\n")[0].split("→")]
    unnamed = {"_version", "__init__", "__main__"}
    assert named == [*(pieces - unnamed for pieces in LAYERS[:-1]), LAYERS[-1] - unnamed | {"launch"}]


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
        ("anneal_jax.pairs.store", "anneal_jax.training.frozen", "pairs lies below training"),
        ("anneal_jax.types", "anneal_jax.metrics", "types lies below metrics"),
        ("anneal_jax.losses.pair", "anneal_jax.models.heads", "meet only above"),
        ("anneal_jax.training.frozen", "anneal_jax.acquisition.scan", "meet only above"),
        ("anneal_jax.metrics", "anneal_jax.losses.pair", "meet only above"),
        ("anneal_jax.config", "launch.run", "stands on its own"),
        ("anneal_jax.metrics", "anneal_jax.ranking", None),
        ("anneal_jax.acquisition.scan", "anneal_jax.acquisition.tile_scores", None),
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
        "def late():\n  from anneal_jax import atomic\n  from anneal_jax.pairs.store import Question\n"
    )
    assert imports_of(path) == {"anneal_jax.seeds", "anneal_jax.atomic", "anneal_jax.pairs.store"}


def test_sub_packages_are_folders_with_an_empty_init():
    folders = {path.parent for path in PACKAGE_FILES} - {PACKAGE}
    assert [relative(f) for f in sorted(folders) if not (f / "__init__.py").is_file()] == []
    assert [relative(f) for f in sorted(folders) if (f / "__init__.py").stat().st_size] == []


def test_no_file_is_long_without_a_reason():
    lengths = {relative(path): len(path.read_text("utf-8").splitlines()) for path in ALL_FILES}
    assert {path for path, length in lengths.items() if length > 600} == set()
    assert {path for path, length in lengths.items() if length > 400} == set(LONG_FILES)
    assert all(LONG_FILES.values())
