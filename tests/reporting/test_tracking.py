import importlib.machinery
import os
import pathlib
import struct
import sys
import types

import pytest

from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import ConfigError, how_to_install
from anneal_jax.experiments.grid import Cell, cell_folder
from anneal_jax.experiments.round_log import append_round
from anneal_jax.reporting.tracking import require_tracker, scalars, track_cell, tracking

CONFIG = ExperimentConfig()


def row(index):
    return {
        "round_index": index,
        "bits_spent": 100 + 50 * index,
        "mean_average_precision_at_5": 0.5 + 0.125 * index,
        "threshold": None,
        "selection_certified": True,
    }


def report(tracker, workdir, count):
    """Append so many rounds to a log, each logged at once."""
    workdir.mkdir(parents=True, exist_ok=True)
    old = (
        len((workdir / "rounds.jsonl").read_text().splitlines())
        if (workdir / "rounds.jsonl").exists()
        else 0
    )
    with tracking(tracker, CONFIG, workdir, name="run", group="group") as log_new_rounds:
        for index in range(old, old + count):
            append_round(workdir / "rounds.jsonl", row(index))
            log_new_rounds()


def read_events(folder):
    """Return (tag, step, value) of every scalar in TensorBoard's files: records framed by their length."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = []
    for path in sorted(folder.glob("events.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            found += [
                (value.tag, event.step, value.simple_value)
                for value in event.summary.value
                if value.HasField("simple_value")
            ]
    return found


def test_tensorboard_gets_each_round_once_at_its_bits_and_earlier_ones_too(tmp_path):
    pytest.importorskip("tensorboardX")
    report(None, tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["rounds.jsonl"]
    for count in (2, 0, 1):
        report("tensorboard", tmp_path, count)
    events = read_events(tmp_path / "tensorboard")
    assert [each[1:] for each in events if each[0] == "mean_average_precision_at_5"] == [
        (100, 0.5),
        (150, 0.625),
        (200, 0.75),
        (250, 0.875),
    ]
    assert {tag for tag, _, _ in events} == set(scalars(row(0)))


def test_nothing_is_opened_before_there_is_a_round(tmp_path):
    pytest.importorskip("tensorboardX")
    with tracking("tensorboard", CONFIG, tmp_path / "run", name="run"):
        assert not (tmp_path / "run").exists()


@pytest.fixture
def wandb(monkeypatch, tmp_path):
    """A stand-in for the wandb package that keeps what it is given."""
    calls = types.SimpleNamespace(inits=[], logs=[], finished=0)

    class Run:
        def log(self, values, step):
            calls.logs.append((step, values["mean_average_precision_at_5"]))

        def finish(self):
            calls.finished += 1

    module = types.ModuleType("wandb")
    module.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
    module.init = lambda **settings: (calls.inits.append(settings), Run())[1]
    monkeypatch.setitem(sys.modules, "wandb", module)
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_ERROR_REPORTING"):
        monkeypatch.setenv(name, "")  # so that it is put back, whatever is set meanwhile
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return calls


def test_wandb_stays_offline_unless_it_was_set_up(wandb, tmp_path, monkeypatch):
    report("wandb", tmp_path / "a", 2)
    assert wandb.logs == [(100, 0.5), (150, 0.625)]
    (init,) = wandb.inits
    assert init["mode"] == "offline" and "resume" not in init
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"
    assert (init["name"], init["group"], init["config"]["steps"]) == ("run", "group", CONFIG.steps)
    assert pathlib.Path(init["dir"]) == tmp_path / "a"
    monkeypatch.setenv("WANDB_MODE", "online")
    report("wandb", tmp_path / "a", 1)
    assert wandb.inits[1]["resume"] == "allow" and "mode" not in wandb.inits[1]
    assert wandb.inits[1]["id"] == init["id"] and wandb.finished == 2
    monkeypatch.delenv("WANDB_MODE")
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password key\n")
    report("wandb", tmp_path / "b", 1)
    assert "mode" not in wandb.inits[2] and wandb.inits[2]["id"] != init["id"]


def test_a_cell_is_reported_once_under_its_own_name(wandb, tmp_path):
    folder = cell_folder(tmp_path, "mgue+margin=0.3", 4)
    folder.mkdir(parents=True)
    append_round(folder / "rounds.jsonl", row(0))
    cell = Cell("mgue+margin=0.3", 4, [row(0)])
    for _ in range(2):
        track_cell("wandb", CONFIG, cell, tmp_path)
    (init,) = wandb.inits
    assert (init["name"], init["group"]) == ("mgue+margin=0.3, seed 4", "mgue+margin=0.3")
    assert (init["config"]["margin"], init["config"]["seed"]) == (0.3, 4)
    track_cell(None, CONFIG, cell, tmp_path)


@pytest.mark.parametrize(
    ("tracker", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")], ids=str
)
def test_a_missing_package_is_one_sentence(tracker, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError) as caught:
        require_tracker(tracker)
    assert str(caught.value) == (
        f"--tracker={tracker} needs {package}, which is not installed; "
        f"install it with {how_to_install(tracker)}."
    )
    require_tracker(None)


def test_an_unknown_tracker_is_named_beside_the_nearest():
    with pytest.raises(ConfigError, match=r"no tracker 'tensorbord' \(did you mean 'tensorboard'\?\)"):
        require_tracker("tensorbord")
