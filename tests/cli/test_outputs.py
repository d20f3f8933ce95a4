"""Where results go: files on full, read-only and odd paths, and terminals that cannot print."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from anneal_jax.answers.file_format import SharedAnswer, write_answers
from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive
from anneal_jax.experiments.run import run_experiment
from anneal_jax.retrieval.embedder import load_embedder
from anneal_jax.retrieval.index_writer import append_tiles
from tests.conftest import ROOT
from tests.launching import run_script
from tests.small_disks import small_disk

ANSWER = SharedAnswer(
    1, "Alike?", "a", "b", "training", "similar", "Ada", "2026-01-01T00:00:00Z", 1.0, 1.0, "key-00001", None
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model of vectors, an index of forty of them with names beyond ASCII, and two files of answers."""
    place = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 4
    vectors = (rng.normal(size=(4, 8))[labels] + 0.2 * rng.normal(size=(40, 8))).astype(np.float32)
    ids = np.array([f"té{row}" for row in range(40)])
    np.savez(place / "v.npz", embeddings=vectors, labels=labels, ids=ids)
    config = ExperimentConfig(archive=f"embeddings:{place / 'v.npz'}", rounds=0, steps=5)
    run_experiment(config, place / "run")
    embedder = load_embedder(place / "run")
    append_tiles(
        place / "index", open_archive(config.archive), embedder.embed_archive, embedder.model_card()
    )
    for name in ("one.csv", "two.csv"):
        write_answers(place / name, [ANSWER])
    return place


def app(name, *arguments, **settings):
    done = run_script(name, *arguments, **settings)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def app_in_shell(name, *arguments, after="", **environment):
    """Start Python anew: its streams and settings are those of the shell from the first moment."""
    flags = " ".join(f"'{argument}'" for argument in arguments)
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' launch/{name}.py {flags} {after}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, **environment},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


# Every flag that names a file to be written, and the rest of a command that gets as far as that.
OUTPUTS = {
    "answers --export": "--merge={place}/one.csv,{place}/two.csv",
    "duplicates --csv": "--archive=embeddings:{place}/v.npz",
    "search --picture": "--index={place}/index --query=té1",
    "search --geojson": "--index={place}/index --query=té1",
    "export --parquet": "--index={place}/index",
    "export --onnx": "--checkpoint={place}/run",
    "export --stablehlo": "--checkpoint={place}/run",
    "warmstart --output": "--config=launch/configs/digits.py --epochs=1",
}
ENDINGS = {"--export": ".csv", "--output": ".safetensors"}


def command(output, place, path):
    name, flag = output.split()
    return name, f"{flag}={path}{ENDINGS.get(flag, '')}", *OUTPUTS[output].format(place=place).split()


def test_every_output_flag_is_looked_at():
    """Whatever flag of a launch script speaks of a file to write is in the table."""
    found = set()
    for script in (ROOT / "launch").glob("*.py"):
        text = script.read_text("utf-8")
        for flag, words in re.findall(r'DEFINE_string\(\s*"(\w+)", None, "([^"]*)"', text):
            if re.search(r"(to write|[Ff]ile for|PNG for)", words):
                found.add(f"{script.stem} --{flag}")
    assert found == set(OUTPUTS)


@pytest.mark.parametrize(
    ("output", "path", "sentence"),
    [
        *((output, "/proc/out", "cannot write /proc/out") for output in OUTPUTS),
        ("duplicates --csv", "{folder}/absent/out", "its folder does not exist; create it first"),
        ("duplicates --csv", "{folder}/" + "n" * 300, "File name too long); give a shorter name"),
    ],
    ids=lambda value: value[:30],
)
def test_an_output_that_cannot_be_written_is_one_sentence_before_the_work(
    place, tmp_path, output, path, sentence
):
    code, out, err = app(*command(output, place, path.format(folder=tmp_path)))
    assert (code, out) == (2, "") and sentence in err and len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", ["answers --export", "duplicates --csv", "export --parquet"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(place, tmp_path, output):
    with small_disk(tmp_path / "disk", "8k") as disk:
        name, flag, *rest = command(output, place, disk / "out")
        target = pathlib.Path(flag.partition("=")[2])
        target.write_text("old")
        (disk / "ballast").write_bytes(b"x" * 4096)  # two pages there are: this one and the old file's
        code, out, err = app(name, flag, *rest)
        assert (code, out) == (2, "") and err.startswith(f"error: cannot write {target}")
        assert "No space left on device); free some space there" in err
        assert target.read_text() == "old" and len(list(disk.iterdir())) == 2


def test_a_device_is_not_replaced_by_a_file(place):
    code, _, err = app("duplicates", f"--archive=embeddings:{place}/v.npz", "--csv=/dev/null")
    assert code == 2 and "/dev/null: it is not a regular file" in err
    assert not pathlib.Path("/dev/null").is_file()


def test_a_name_as_long_as_a_disk_takes_is_written(place, tmp_path):
    target = tmp_path / ("n" * 251 + ".csv")
    code, out, _ = app("duplicates", f"--archive=embeddings:{place}/v.npz", f"--csv={target}")
    assert code == 0 and out and target.read_text().startswith("kind,")


@pytest.mark.slow
def test_what_a_terminal_lacks_is_escaped_and_json_stays_json(place):
    arguments = [f"--index={place}/index", "--query=té1", "--k=3"]
    code, printed, err = app_in_shell("search", *arguments, "--json", PYTHONIOENCODING="ascii")
    assert (code, err) == (0, "") and '"t\\u00e91"' in printed
    _, expected, _ = app("search", *arguments, "--json")
    assert json.loads(printed) == json.loads(expected) and "é" in expected


def test_a_closed_pipe_ends_without_a_word_and_the_files_are_there(place, tmp_path):
    code, _, err = app_in_shell(
        *("duplicates", f"--archive=embeddings:{place}/v.npz", f"--csv={tmp_path}/d.csv"), after="| true"
    )
    assert (code, err) == (0, "") and (tmp_path / "d.csv").exists()


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_behind_stdout_is_reported_and_the_files_are_there(place, tmp_path):
    code, _, err = app(
        *("duplicates", f"--archive=embeddings:{place}/v.npz", f"--csv={tmp_path}/d.csv"),
        stdout="/dev/full",
    )
    assert code == 2 and "some output was not printed (No space left on device)" in err
    assert (tmp_path / "d.csv").exists()
    assert app_in_shell("duplicates", "--archive=digits", after=">&-")[0] == 0  # nobody listens


@pytest.mark.slow
def test_a_long_run_goes_on_when_nobody_listens(place, tmp_path):
    code, _, _ = app(
        *("run", "--config=launch/configs/ucm_frozen.py", f"--workdir={tmp_path}/run"),
        *(f"--config.archive=embeddings:{place}/v.npz", "--config.pretrained=none", "--config.steps=5"),
        *("--config.rounds=1", "--config.pairs_per_round=5"),
        stdout="/dev/full",
    )
    assert code == 2 and len((tmp_path / "run" / "rounds.jsonl").read_text().splitlines()) == 2


def test_the_disk_of_temporary_files_is_full(tmp_path):
    with small_disk(tmp_path / "disk", "8k") as disk:
        code, _, err = app("duplicates", "--archive=digits", environment={"TMPDIR": str(disk)})
        assert code == 2 and f"{disk} does not have the 5,520,384 bytes that small pictures" in err
        assert "set TMPDIR to a folder that has them." in err
    code, _, err = app("duplicates", "--archive=digits", environment={"TMPDIR": str(tmp_path / "absent")})
    assert code == 0  # Python takes another folder


def test_an_index_and_a_cache_on_a_full_disk(place, tmp_path):
    with small_disk(tmp_path / "disk", "8k") as disk:
        code, _, err = app(
            "embed",
            *(f"--checkpoint={place}/run", f"--archive=embeddings:{place}/v.npz", f"--index={disk}/i"),
        )
        assert code == 2 and "No space left on device); free some space there" in err
        assert "the same command continues after them." in err


@pytest.mark.slow
def test_a_checkpoint_on_a_full_disk_ends_in_a_sentence_and_the_run_continues(place, tmp_path):
    recipe = ("--config=launch/configs/digits.py", f"--config.archive=embeddings:{place}/v.npz")
    small = ("--config.rounds=0", "--config.steps=5", "--config.initial_fraction=0.2")
    with small_disk(tmp_path / "disk", "300k") as disk:
        done = run_script("run", *recipe, *small, f"--workdir={disk}/w")
        # Now and then a thread of orbax, which the error has overtaken, reports that its loop is closed.
        assert done.returncode == 2, done.stderr
        assert "No space left on device" in done.stderr or "no room left" in done.stderr
        shutil.copytree(disk / "w", tmp_path / "w")
    assert app("run", *recipe, *small, f"--workdir={tmp_path}/w")[0] == 0


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_an_argument_outside_utf8_is_refused_with_what_to_do(place, encoding):
    bad = "$(printf 'caf\\xe9')" if encoding == "utf-8" else "té1"
    environment = {} if encoding == "utf-8" else {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"}
    environment["PYTHONUTF8"] = "1" if encoding == "utf-8" else "0"
    code, _, err = app_in_shell("search", f"--index={place}/index", after=f"--query={bad}", **environment)
    assert code == 2 and "is not valid UTF-8; rename it; or" in err and "set PYTHONUTF8=1" in err


@pytest.mark.slow
def test_the_advice_about_utf8_works_as_it_is_printed(place):
    flags = (f"--index={place}/index", "--query=té1")
    assert app_in_shell("search", *flags, LC_ALL="POSIX", PYTHONUTF8="1")[0] == 0


def test_answers_are_exported_from_a_disk_that_takes_nothing(place, tmp_path):
    with small_disk(tmp_path / "disk", "4m") as disk:
        shutil.copytree(place / "run", disk / "run")
        before = {path.name: path.read_bytes() for path in (disk / "run").iterdir() if path.is_file()}
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        code, out, err = app("answers", f"--workdir={disk}/run", f"--export={tmp_path}/out.csv")
        assert (code, err) == (0, "") and out.endswith(f"answers are in {tmp_path}/out.csv.\n")
        assert before == {
            path.name: path.read_bytes() for path in (disk / "run").iterdir() if path.is_file()
        }
        code, _, err = app("answers", f"--workdir={disk}/run", f"--import={tmp_path}/out.csv")
        assert code == 2 and "Read-only file system" in err
