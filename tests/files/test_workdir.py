import dataclasses
import json
import signal
import subprocess
import sys
import textwrap

import pytest

from anneal_jax.config import CHOICES, ExperimentConfig
from anneal_jax.errors import WorkdirError
from anneal_jax.files.workdir import (
    default_workdir,
    locked,
    read_config,
    settle_config,
)

HOLDER = """
    import pathlib, sys
    from anneal_jax.files.workdir import locked
    with locked(pathlib.Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path`."""
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_workdir_is_made_with_its_parents(tmp_path):
    workdir = tmp_path / "runs" / "digits"
    with locked(workdir):
        assert workdir.is_dir()
    with locked(workdir):  # free again
        pass


def test_a_second_process_is_refused_until_the_first_is_killed(holder, tmp_path):
    with pytest.raises(WorkdirError, match=f"another run is using {tmp_path}"), locked(tmp_path):
        pytest.fail("two runs held one workdir")
    holder.kill()
    assert holder.wait() == -signal.SIGKILL
    with locked(tmp_path):
        pass


def test_the_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass


def test_a_workdir_that_cannot_be_made_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    message = f"cannot use {file / 'run'} as a workdir"
    with pytest.raises(WorkdirError, match=message), locked(file / "run"):
        pytest.fail("a workdir inside a file")


def test_the_config_comes_back_and_may_be_settled_again(tmp_path):
    config = ExperimentConfig(archive="folder:/data/Äcker", rounds=3, margin=-0.5)
    for _ in range(2):
        settle_config(tmp_path, config, {})
        assert read_config(tmp_path) == config
    settings = json.loads((tmp_path / "config.json").read_text())
    assert settings == dataclasses.asdict(config)


def test_rounds_may_grow_but_not_shrink(tmp_path):
    settle_config(tmp_path, ExperimentConfig(rounds=3), {})
    settle_config(tmp_path, ExperimentConfig(rounds=5), {})
    assert read_config(tmp_path).rounds == 5
    with pytest.raises(WorkdirError, match="rounds=5; it may grow, not shrink to 4"):
        settle_config(tmp_path, ExperimentConfig(rounds=4), {})
    assert read_config(tmp_path).rounds == 5


@pytest.mark.parametrize(
    "changed", [field.name for field in dataclasses.fields(ExperimentConfig) if field.name != "rounds"]
)
def test_any_other_changed_setting_is_refused_by_name(tmp_path, changed):
    old = ExperimentConfig()
    new = dataclasses.replace(old, **{changed: another_value(changed, getattr(old, changed))})
    settle_config(tmp_path, old, {})
    message = rf"made with other settings: {changed} was {getattr(old, changed)!r} and is now"
    with pytest.raises(WorkdirError, match=message):
        settle_config(tmp_path, new, {})
    assert read_config(tmp_path) == old


def another_value(name, value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return next(other for other in CHOICES.get(name, ["another"]) if other != value)
    return value + 1 if isinstance(value, int) else (value + 0.25) / 2


def test_every_changed_setting_is_named(tmp_path):
    settle_config(tmp_path, ExperimentConfig(seed=0, beta=0.1), {})
    with pytest.raises(WorkdirError, match=r"beta was 0\.1 and is now 0\.2.*Use the old ones, or a new"):
        settle_config(tmp_path, ExperimentConfig(seed=1, beta=0.2), {})
    with pytest.raises(WorkdirError, match="seed was 0 and is now 1"):
        settle_config(tmp_path, ExperimentConfig(seed=1, beta=0.2), {})


def test_a_setting_that_an_old_workdir_did_not_know_has_its_default(tmp_path):
    (tmp_path / "config.json").write_text('{"rounds": 2}')
    assert read_config(tmp_path) == ExperimentConfig(rounds=2)


def test_a_folder_that_no_run_left_is_refused(tmp_path):
    with pytest.raises(WorkdirError, match=r"contains no config\.json; give the workdir of a run"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"archive": "dig', "Unterminated string"),
        (b"", "Expecting value"),
        (b"\xff\xfe", "decode"),
        (b"[1, 2]", "it is not a JSON object"),
        (b'{"archve": "digits"}', r"did you mean 'archive'\?"),
        (b'{"rounds": "6"}', "rounds='6' has type str"),
        (b'{"margin": NaN}', "margin=nan is out of range"),
    ],
)
def test_a_torn_or_edited_config_is_one_clear_sentence_and_stays(tmp_path, text, reason):
    path = tmp_path / "config.json"
    path.write_bytes(text)
    for use in (read_config, lambda workdir: settle_config(workdir, ExperimentConfig(), {})):
        with pytest.raises(WorkdirError, match=rf"cannot read \S+config\.json \(.*{reason}.*restore it"):
            use(tmp_path)
    assert path.read_bytes() == text


def test_a_config_that_cannot_be_opened_is_one_clear_sentence(tmp_path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(WorkdirError, match=r"cannot read \S+config\.json .*Is a directory"):
        read_config(tmp_path)


def test_another_archive_under_the_same_path_is_refused_by_name(tmp_path):
    config, inputs = ExperimentConfig(), {"tiles": "aa", "labels": "bb"}
    settle_config(tmp_path, config, inputs)
    settle_config(tmp_path, config, inputs)
    with pytest.raises(WorkdirError, match=r"the labels changed after .* was made"):
        settle_config(tmp_path, config, {**inputs, "labels": "cc"})


@pytest.mark.parametrize("torn", [b"", b"[]", b"{}"])
def test_torn_inputs_are_one_clear_sentence(tmp_path, torn):
    settle_config(tmp_path, ExperimentConfig(), {"tiles": "aa"})
    (tmp_path / "inputs.json").write_bytes(torn)
    with pytest.raises(WorkdirError, match=r"cannot read .*inputs.json; restore it"):
        settle_config(tmp_path, ExperimentConfig(), {"tiles": "aa"})


def test_a_folder_of_something_else_is_no_workdir(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(WorkdirError, match="contains unrelated files"), locked(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_default_workdir_is_the_users_and_named_after_the_archive(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    first, other = (default_workdir(f"folder:/{place}/my tiles") for place in ("a", "b"))
    assert first == default_workdir("folder:/a/my tiles") and first.parent == tmp_path / "anneal-jax"
    assert first != other and first.name.startswith("my_tiles-")
    assert default_workdir("digits").name.startswith("digits-")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_workdir("digits").parent == tmp_path / "home/.local/share/anneal-jax"
    monkeypatch.setattr("sys.platform", "darwin")
    assert default_workdir("digits").parent == tmp_path / "home/Library/Application Support/anneal-jax"


def test_the_default_workdir_is_never_inside_the_archive(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with pytest.raises(WorkdirError, match=r"inside the archive.*--workdir=FOLDER"):
        default_workdir(f"folder:{tmp_path}")
