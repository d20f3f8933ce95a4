"""The notebooks: kept clean, paired with their text, and first cells that leave an installed JAX alone."""

import ast
import importlib.util
import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def read(path):
    nbformat = pytest.importorskip("nbformat", reason="needs the extra notebook")
    return nbformat.read(path, as_version=4)


def code_cells(name):
    return [cell for cell in read(FOLDER / f"{name}.ipynb").cells if cell.cell_type == "code"]


def install_cell(name):
    return code_cells(name)[0].source


def test_each_notebook_has_its_text():
    assert len(NAMES) == 4
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_notebook_and_text_agree(name):
    jupytext = pytest.importorskip("jupytext", reason="needs the extra notebook")
    text = jupytext.read(FOLDER / f"{name}.py")
    found = [(cell.cell_type, cell.source) for cell in read(FOLDER / f"{name}.ipynb").cells]
    assert found == [(cell.cell_type, cell.source) for cell in text.cells], "scripts/notebooks --pair"
    assert len(found) > 8


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_kept_without_outputs(name):
    assert [(cell.outputs, cell.execution_count) for cell in code_cells(name)] == [
        ([], None) for _ in code_cells(name)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_defines_no_function(name):
    nodes = list(ast.walk(ast.parse((FOLDER / f"{name}.py").read_text("utf-8"))))
    assert [node.lineno for node in nodes if isinstance(node, DEFINITIONS)] == []


@pytest.mark.parametrize("name", NAMES)
def test_text_stands_before_every_step(name):
    """Two code cells in a row only where the second shows or waits for what the first made."""
    kinds = [cell.cell_type for cell in read(FOLDER / f"{name}.ipynb").cells]
    assert kinds[0] == "markdown"
    assert "code code code" not in " ".join(kinds)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_cell_does_nothing_where_the_package_is(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda *command, **options: pytest.fail("pip was called"))
    assert install_cell(name) == install_cell(NAMES[0])
    exec(compile(install_cell(name), name, "exec"), {})
    assert list(tmp_path.iterdir()) == []


def test_the_first_cell_holds_jax_and_numpy_as_they_are(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    commands = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, **options: commands.append((command, options)))
    exec(compile(install_cell(NAMES[0]), "install", "exec"), {})
    ((command, options),) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "install"] and options == {"check": True}
    assert command[command.index("-c") + 1] == "held.txt"
    held = (tmp_path / "held.txt").read_text().splitlines()
    for package in ("jax", "jaxlib", "numpy"):
        assert f"{package}=={version(package)}" in held
    assert command[-1] == f"anneal-jax[demo,serve] @ {tmp_path.parent.as_uri()}"


def test_their_readme_says_what_each_does():
    text = (FOLDER / "README.md").read_text("utf-8")
    assert [name for name in NAMES if f"({name}.ipynb)" not in text] == []


@pytest.mark.slow
def test_a_failing_cell_fails_the_script_and_is_named(tmp_path):
    pytest.importorskip("nbclient", reason="needs the extra notebook")
    (tmp_path / "broken.py").write_text("# %%\nprint('fine')\n\n# %%\nraise RuntimeError('of this cell')\n")
    script = [sys.executable, ROOT / "scripts" / "run_notebooks.py", f"--folder={tmp_path}"]
    subprocess.run([*script, "--pair"], check=True)
    done = subprocess.run([*script, f"--keep={tmp_path / 'kept'}"], capture_output=True, text=True)  # noqa: PLW1510
    assert done.returncode == 1
    assert "of this cell" in done.stderr and "error: these notebooks failed: broken.ipynb." in done.stderr
    outputs = read(tmp_path / "kept" / "broken.ipynb").cells[0].outputs
    assert outputs[0]["text"] == "fine\n"
