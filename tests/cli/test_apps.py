import ast
import functools
import json
import re
import subprocess
import sys
import textwrap
import types

import pytest

from anneal_jax import __version__
from anneal_jax.cli.apps import as_typed, config_of, recipe
from anneal_jax.cli.help import help_text
from anneal_jax.config import SETTING_TYPES, ExperimentConfig
from anneal_jax.errors import ConfigError
from tests.conftest import ROOT
from tests.launching import run_python

DIGITS = "--config=launch/configs/digits.py"
APPS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "launch").glob("*.py"))


def source_of(app):
    """Return the text that declares the flags of an app: its script, or what the wheel's command runs."""
    own = ROOT / ("anneal_jax/annotation/web/command.py" if app == "launch/annotate.py" else app)
    return own.read_text(encoding="utf-8")


RECIPE_APPS = [app for app in APPS if "DEFINE_config_file" in source_of(app)]
HEAVY = ("jax", "flax", "sklearn", "matplotlib", "PIL", "orbax", "scipy")


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def run_app(*arguments):
    return python("launch/run.py", *arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([DIGITS, "--config.archve=x"], "no setting --config.archve (did you mean 'archive'?)."),
        (["--noconfig.diversty"], "no setting --config.diversty (did you mean 'diversity'?)."),
        ([DIGITS, "--config.rounds=abc"], "--config.rounds=abc cannot be used; give a whole number."),
        ([DIGITS, "--config.rounds=2.5"], "--config.rounds=2.5 cannot be used; give a whole number."),
        ([DIGITS, "--config.margin=x"], "--config.margin=x cannot be used; give a number."),
        ([DIGITS, "--config.diversity=maybe"], "cannot be used; give true or false."),
        ([DIGITS, "--config.regime=frozn"], "there is no regime 'frozn' (did you mean 'frozen'?); "),
        ([DIGITS, "--config.rounds=-1"], "rounds=-1 is out of range; give 0 to 100000."),
        (["--config=nope.py"], "there is no recipe 'nope.py'; see launch/configs/."),
        (["--config", "nope.py"], "there is no recipe 'nope.py'; see launch/configs/."),
        ([], "give a recipe, such as --config=launch/configs/earth.py."),
        (["--config.rounds=3"], "give --config=FILE, a recipe, before --config.rounds."),
        (["--config=anneal_jax/seeds.py"], "the recipe anneal_jax/seeds.py cannot be used ("),
        ([DIGITS, "extra"], "unexpected argument 'extra'; settings are flags, such as --config.seed=1."),
        ([DIGITS, "--workdri=x"], "there is no flag --workdri (did you mean 'workdir'?)."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, sentence, tmp_path):
    workdir = tmp_path / "run"
    done = run_app(f"--workdir={workdir}", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and sentence in line
    assert not workdir.exists()


def test_a_missing_workdir_is_one_sentence():
    done = run_app(DIGITS)
    assert (done.returncode, done.stderr) == (2, "error: --workdir is missing; --help says what it is.\n")


def test_a_mistake_inside_a_recipe_is_reported_in_its_own_words(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        textwrap.dedent("""
            from anneal_jax.cli.apps import recipe
            from anneal_jax.config import ExperimentConfig

            def get_config():
                return recipe(ExperimentConfig(regime="frozn"))
        """)
    )
    done = run_app(f"--config={path}", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"the recipe {path} cannot be used" in line and "did you mean 'frozen'?" in line


SPY = """
    import json, runpy, sys
    sys.argv = sys.argv[1:]
    sys.path.insert(0, "launch")
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        code = stop.code
    loaded = sorted({name.partition(".")[0] for name in sys.modules})
    print(json.dumps([code, loaded]))
"""


@pytest.mark.parametrize(
    ("app", "arguments", "code"),
    [
        *((app, ["--indx=unused"], 2) for app in APPS),
        *((app, [DIGITS, "--workdir=unused", "--config.regime=frozn"], 2) for app in RECIPE_APPS),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else str(value),
)
def test_a_mistake_is_answered_before_anything_heavy_loads(app, arguments, code):
    assert light_answer(app, *arguments) == (code, "")


def light_answer(app, *arguments):
    """Return the exit code of an app, which must load nothing heavy, and what it printed."""
    done = python("-c", textwrap.dedent(SPY), app, *arguments)
    *printed, last = done.stdout.splitlines(keepends=True)
    code, loaded = json.loads(last)
    assert "anneal_jax" in loaded and "ml_collections" in loaded
    assert not set(HEAVY) & set(loaded)
    return code, "".join(printed)


@pytest.mark.parametrize("app", APPS)
def test_help_names_every_flag_once_and_the_command_within_80_columns(app):
    flags = re.findall(r'DEFINE_\w+\(\s*"(\w+)"', source_of(app))
    assert app not in RECIPE_APPS or ("config" in flags and {"workdir", "output"} & set(flags))
    code, printed = light_answer(app, "--help")
    assert code == 0 and max(map(len, printed.splitlines())) <= 80
    assert re.search(rf"python {app} (--|PATH)", " ".join(printed.split()))
    shown = re.findall(r"^  --(?:\[no\])?(\w+)", printed, re.MULTILINE)
    assert sorted(flags) == shown


@pytest.mark.parametrize("ask", ["-h", "-?", "--helpshort"])
def test_help_is_given_however_it_is_asked_for(ask):
    assert run_app(ask).stdout == run_app("--help").stdout


def test_the_full_help_of_an_app_with_a_recipe_adds_every_setting_within_80_columns():
    done = run_app("--helpfull")
    assert done.returncode == 0 and max(map(len, done.stdout.splitlines())) <= 80
    assert re.findall(r"^  --config\.(\w+)=", done.stdout, re.MULTILINE) == list(SETTING_TYPES)
    assert "--config." not in python("launch/search.py", "--helpfull").stdout


def test_a_long_command_in_a_docstring_is_continued_as_a_shell_has_it(monkeypatch):
    app = types.ModuleType("app", "Do it.\n\n  python do.py" + " --flag=value" * 8)
    monkeypatch.setitem(sys.modules, "app", app)
    shown = help_text("app", full=False)
    command = shown.partition("\n\n")[2].partition("\n\n")[0]
    assert [line.endswith(" \\") for line in command.splitlines()] == [True, False]
    assert command.replace("\\\n", "").split() == ["python", "do.py", *["--flag=value"] * 8]


FAILING_APP = """
    import sys
    from anneal_jax import errors
    from anneal_jax.cli import apps

    def main(argv):
        raise {error}

    apps.run_app(main)
"""


@pytest.mark.parametrize(
    ("error", "code", "stderr"),
    [
        ("errors.ArchiveError('no tiles in x.')", 2, "error: no tiles in x.\n"),
        ("errors.ArchiveError('no tiles in x')", 2, "error: no tiles in x.\n"),
        (
            "RuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes')",
            2,
            "error: there is not enough memory; reduce the input, or use a machine with more memory.\n",
        ),
        ("KeyboardInterrupt", 130, "stopped; the same command continues from here.\n"),
    ],
)
def test_what_an_app_raises_on_purpose_is_one_sentence(error, code, stderr):
    done = python("-c", textwrap.dedent(FAILING_APP).format(error=error))
    assert (done.returncode, done.stderr) == (code, stderr)


def test_a_fault_of_the_program_keeps_its_traceback():
    done = python("-c", textwrap.dedent(FAILING_APP).format(error="ZeroDivisionError"))
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_a_recipe_comes_back_as_the_config_it_was_made_from():
    config = ExperimentConfig(archive="folder:/data/ucm", rounds=2, diversity=False)
    assert config_of(recipe(config)) == config


@pytest.mark.parametrize("value", [None, {}, "launch/configs/digits.py"])
def test_what_is_no_recipe_is_refused(value):
    with pytest.raises(ConfigError, match="give a recipe"):
        config_of(value)


def test_the_package_tells_its_version():
    done = python("-m", "anneal_jax", "--version")
    assert done.returncode == 0 and done.stdout.startswith(f"anneal-jax {__version__} (jax ")
    assert "  anneal-jax PATH\n" in python("-m", "anneal_jax", "--help").stdout
    without = python("-m", "anneal_jax")
    assert without.returncode == 2 and "anneal-jax PATH" in without.stderr


@functools.cache
def messages():
    """Return every text of the library that is no docstring, and the name of its file."""
    found = []
    for path in (ROOT / "anneal_jax").rglob("*.py"):
        if path.parent.name == "cli" or path.name in ("__main__.py", "command.py"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                found.append((path.name, node.value))
    return found


def test_a_message_of_the_library_names_settings_without_dashes():
    named = {(file, name) for file, text in messages() for name in re.findall(r"--config\.(\w+)", text)}
    # A command to copy, and the page of a run, whose recipe there always is.
    assert named == {("pretrain.py", "pretrained"), ("pretrain.py", "backbone"), ("page.py", "rounds")}


@pytest.mark.parametrize("app", APPS)
def test_every_setting_that_a_message_advises_is_taken_by_the_app_as_it_is_named_there(app):
    flags = re.findall(r'DEFINE_\w+\(\s*"(\w+)"', source_of(app))
    advised = {name for _, text in messages() for name in re.findall(r"\b(?:set|give) (\w+)=", text)}
    advised &= set(SETTING_TYPES)
    assert {"on_bad_image", "cache_dir"} <= advised
    for name in advised:
        typed = as_typed(f"set {name}=skip.", flags).removeprefix("set ").partition("=")[0]
        if typed.startswith("--config."):
            assert app in RECIPE_APPS
        elif typed.startswith("--"):
            assert typed[2:] in flags
        else:
            assert app not in RECIPE_APPS and name not in flags


@pytest.mark.parametrize(
    ("app", "arguments"),
    [
        ("launch/run.py", [DIGITS, "--config.archive=folder:{tiles}", "--workdir={work}"]),
        ("launch/annotate.py", ["--archive=folder:{tiles}", "--workdir={work}", "--on_bad_image=refuse"]),
        ("launch/duplicates.py", ["--archive=folder:{tiles}", "--csv={work}"]),
    ],
)
def test_the_advice_about_a_bad_image_works_as_it_is_printed(app, arguments, tmp_path):
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles" / "broken.png").write_bytes(b"no picture")
    given = [text.format(tiles=tmp_path / "tiles", work=tmp_path / "work") for text in arguments]
    done = run_python(app, *given)
    (advice,) = re.findall(r"set (--\S+=skip) to leave them out", done.stderr)
    again = run_python(app, *given, advice)
    assert again.returncode == 2 and "contains no usable" in again.stderr


def test_a_python_without_the_package_is_reported_the_right_one_in_a_line(tmp_path):
    bare = [sys.executable, "-I", "-S"]  # no site-packages
    for app in APPS:
        start = f"import sys, runpy; sys.path.insert(0, 'launch'); sys.argv = [{app!r}]; "
        command = [*bare, "-c", f"{start}runpy.run_path({app!r})"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        (line,) = done.stderr.splitlines()
        assert done.returncode == 1 and ".venv/bin/python" in line and line.endswith(app)
