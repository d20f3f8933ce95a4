"""The commands of README and the tutorials, typed one after the other in a fresh folder."""

import pathlib
import re
import shlex
import subprocess

import pytest

from anneal_jax.annotation.web.scripted_client import answer_page
from anneal_jax.data.archives import open_archive, require_classes
from anneal_jax.pairs.oracle import ClassOracle
from tests.annotation.scripted import Server
from tests.conftest import ROOT
from tests.launching import run_python
from tests.test_pages import FENCE, TEXTS, lay_out_tiles

PAGES = ("README.md", "docs/tutorial_earth.md", "docs/tutorial_tiles.md")
NUM_ANSWERS = 30
SHORTER = ("--config.steps=2", "--config.rounds=0")  # behind what the page says; the last one counts
ONE_SEED = ("--seeds=1", "--acquisitions=random,belief_ask", "--workers=1")


def commands(text):
    """Return the lines of a page's blocks, split as a shell splits them."""
    code = "\n".join(code for kind, code in FENCE.findall(text) if not kind).replace("\\\n", " ")
    return [words for line in code.splitlines() if (words := shlex.split(line, comments=True))]


def test_every_page_has_commands():
    assert all(len(commands(TEXTS[page])) >= 3 for page in PAGES)


def check_make(target):
    """`.ci/run` runs the targets; what a page needs is that there are such."""
    subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def answer(folder, path, flags):
    """Open the page of an archive, with less training, and answer it for a while."""
    workdir = next((flag.partition("=")[2] for flag in flags if flag.startswith("--workdir=")), "runs/mine")
    others = [flag for flag in flags if not flag.startswith("--workdir=")]
    others += ["--sentence=alike?", "--config=launch/configs/earth.py", *SHORTER]
    archive = open_archive(path if path == "bluemarble" else f"folder:{folder / path}")
    with Server(pathlib.Path(workdir), path, *others, cwd=folder) as server:
        oracle = ClassOracle(require_classes(archive))
        assert answer_page(server.url, oracle, NUM_ANSWERS) == NUM_ANSWERS


def run(folder, app, *flags):
    """Run a script to its end, with less training where a recipe sets how much."""
    shorter = SHORTER if any(flag.startswith("--config=") for flag in flags) else ()
    shorter += ONE_SEED if app == "launch/compare.py" else ()
    command = [app, *flags, *shorter]
    done = run_python(*command, cwd=folder, environment={"XLA_FLAGS": ""})
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the scripts, and the tiles that the pages speak of."""
    monkeypatch.chdir(tmp_path)
    for name in ("launch", "Makefile"):
        (tmp_path / name).symlink_to(ROOT / name)
    for kind in ("PATH/field", "PATH/river"):
        (tmp_path / kind).mkdir(parents=True)
    lay_out_tiles()
    (tmp_path / "tiles").symlink_to("PATH")
    (tmp_path / "unseen.tif").write_bytes((tmp_path / "PATH/field/01.png").read_bytes())
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_in_their_order(page, folder):
    for program, *words in commands(TEXTS[page]):
        if program == "make":
            check_make(*words)
        elif program == "anneal-jax":
            answer(folder, words[0], words[1:])
        elif program == "python":
            run(folder, *words)
        else:
            assert [program, *words] == ["source", ".venv/bin/activate"]
    if page != "docs/tutorial_earth.md":
        found = folder / "found"
        assert len([path for path in found.iterdir() if re.match(r"0*1\D", path.name)]) == 1
        assert len((found / "results.csv").read_text().splitlines()) == 21
