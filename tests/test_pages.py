"""What README and docs/ show can be typed: commands have these flags, files are there, Python runs."""

import functools
import re
import subprocess

import numpy as np
import pytest
from PIL import Image

from anneal_jax import ExperimentConfig, load_embedder, run_experiment
from anneal_jax.config import SETTING_TYPES
from tests.conftest import ROOT, SHARED

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`([\w./*-]+/[\w./*-]*\.(?:py|md|yml|json))`")
SOMEWHERE = ("", "anneal_jax/", "docs/")
LAB = "docs/lab/"  # notes of experiments, outside the navigation of the site
GENERATED = "docs/settings.md"
MAX_WORDS = 1_200
MAX_WORDS_OF = {"README.md": 700, "docs/references.md": 2_000}  # a list, to look things up


def flags_of(app):
    source = (ROOT / app).read_text(encoding="utf-8")
    return set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', source))


def commands(text):
    """Return (app, flags) of each command in a page's blocks, continued lines joined."""
    lines = "\n".join(code for kind, code in FENCE.findall(text) if kind != "python").replace("\\\n", " ")
    found = [line.partition("  #")[0] for line in lines.splitlines() if "launch/" in line]
    return [(re.search(r"launch/\w+\.py", line), re.findall(r"--([\w.]+)", line)) for line in found]


@pytest.mark.parametrize("page", TEXTS)
def test_commands_name_flags_and_settings_that_exist(page):
    for app, given in commands(TEXTS[page]):
        known = flags_of(app[0]) if app else set()
        for flag in given:
            name = flag.removeprefix("config.")
            assert name in (SETTING_TYPES if flag != name else known | {"help", "helpfull"}), f"--{flag}"


def test_commands_are_found():
    assert sum(len(commands(text)) for text in TEXTS.values()) > 10


def test_blocks_that_fetch_from_the_hub_install_what_fetches():
    """By pip, or by a make target; `make -nB` shows what that would do."""
    fetching = [code for text in TEXTS.values() for _, code in FENCE.findall(text) if "hf:" in code]
    assert len(fetching) > 1
    for code in fetching:
        targets = re.findall(r"^make (\w+)", code, re.MULTILINE)
        made = [subprocess.check_output(["make", "-nB", each], cwd=ROOT, text=True) for each in targets]
        assert re.search(r"pip install .*\[[\w,]*\bhub\b", "\n".join([code, *made])), code


@pytest.mark.parametrize("page", TEXTS)
def test_files_that_a_page_names_are_there(page):
    names = NAMED.findall(TEXTS[page])
    lost = [name for name in names if not any(list(ROOT.glob(before + name)) for before in SOMEWHERE)]
    assert lost == []


def test_tests_that_pages_name_are_there():
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    written = set(re.findall(r"^def (test_\w+)", sources, re.MULTILINE))
    named = {name for text in TEXTS.values() for name in re.findall(r"`(test_\w+)`", text)}
    assert len(named) > 10 and named - written == set()


@pytest.mark.parametrize("page", [page for page in TEXTS if page != GENERATED and not page.startswith(LAB)])
def test_a_page_is_short(page):
    assert len(TEXTS[page].split()) <= MAX_WORDS_OF.get(page, MAX_WORDS)


def test_commands_have_one_name_for_the_interpreter():
    """`python`, once `.venv/bin/activate` was sourced; README and the first tutorial say so."""
    wrong = r"\.venv/bin/(?!activate)|\bpython3\b|^(?:pip|jupyter|pytest) "
    blocks = [(page, code) for page, text in TEXTS.items() for kind, code in FENCE.findall(text)]
    assert [(page, code) for page, code in blocks if re.search(wrong, code, re.MULTILINE)] == []
    for page in ("README.md", "docs/tutorial_earth.md"):
        assert "\nsource .venv/bin/activate" in TEXTS[page]


def test_the_first_screen_of_the_readme_is_for_everybody():
    """Terms of the papers and of the settings come later; the two commands and two pictures come first."""
    screen = "\n".join(TEXTS["README.md"].splitlines()[:45])
    assert re.findall(r"\bbits?\b|MGUE|supervision", screen, re.IGNORECASE) == []
    assert "make demo" in screen and "make test" in screen and "\nanneal-jax PATH\n" in screen
    pictures = re.findall(r"!\[.+?\]\((.+?)\)", screen)
    assert len(pictures) == 2 and all((ROOT / picture).is_file() for picture in pictures)


def lay_out_tiles():
    rng = np.random.default_rng(0)
    for number in range(40):
        path = f"PATH/{'field' if number % 2 else 'river'}/{number:02}.png"
        colour = np.array([200, 60, 40] if number % 2 else [40, 60, 200])
        pixels = np.clip(colour + rng.integers(-30, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    labels = np.arange(60) % 3
    vectors = np.eye(8, dtype=np.float32)[labels] + rng.normal(0, 0.3, (60, 8)).astype(np.float32)
    np.savez("vectors.npz", embeddings=vectors, labels=labels)


def a_run(_):
    config = ExperimentConfig(archive="folder:PATH", image_size=32, rounds=0, steps=2, initial_fraction=0.2)
    run_experiment(config, "runs/mine")


def an_export(_):
    from anneal_jax.exporting.onnx.model import write_onnx
    from anneal_jax.exporting.stablehlo import write_stablehlo

    write_stablehlo(load_embedder("runs/mine"), "embedder.jaxexport")
    write_onnx(load_embedder("runs/mine"), "embedder.onnx")


def weights(folder):
    source = SHARED / "weights" / "mobilenet_v2_1.0_224_imagenet.npz"
    if not source.exists():
        pytest.skip("needs the weights of MobileNetV2 beside the project (../shared); absent here")
    (folder / "FILE.npz").symlink_to(source)


PREPARED = {
    "docs/annotation.md": [weights],
    "docs/export.md": [a_run, an_export],
    "docs/restore.md": [a_run],
    "docs/search.md": [a_run],
}
BLOCKS = [
    (page, code) for page, text in TEXTS.items() for kind, code in FENCE.findall(text) if kind == "python"
]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "code"), BLOCKS, ids=lambda value: value.partition("\n")[0][:40])
def test_python_on_a_page_runs(page, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Less training, if the page leaves it to the default.
    monkeypatch.setattr("anneal_jax.ExperimentConfig", functools.partial(ExperimentConfig, steps=2))
    for folder in ("PATH/field", "PATH/river", "runs"):
        (tmp_path / folder).mkdir(parents=True)
    lay_out_tiles()
    for prepare in PREPARED.get(page, []):
        prepare(tmp_path)
    names = {"tiles": np.zeros((2, 32, 32, 3), np.uint8)}
    exec(compile(code, page, "exec"), names)
    if "embeddings" in names:
        np.testing.assert_allclose(np.linalg.norm(names["embeddings"], axis=1), 1, atol=1e-5)
