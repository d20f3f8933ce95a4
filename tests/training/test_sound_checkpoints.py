"""Damage to a checkpoint is noticed, whatever is hit; left-overs of a kill are cleaned."""

import json
import random
import signal
from contextlib import closing

import numpy as np
import pytest

from anneal_jax.errors import WorkdirError
from anneal_jax.training.checkpoints import MANIFEST, RoundCheckpoints
from tests.launching import run_python

NUM_FLIPS = 10
STATE = {"weights": np.arange(300, dtype=np.float32).reshape(20, 15), "mean": np.full(7, 0.5, np.float32)}


@pytest.fixture
def checkpoints(tmp_path):
    with closing(RoundCheckpoints(tmp_path / "checkpoints")) as opened:
        yield opened


def state(round_index):
    return {name: array + np.float32(round_index) for name, array in STATE.items()}


def assert_is(found, round_index):
    assert found.round_index == round_index
    for name, array in state(round_index).items():
        np.testing.assert_array_equal(found.state[name], array)


def flip(path, place, bit):
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def test_a_flipped_bit_is_noticed_wherever_it_is(checkpoints, caplog):
    rng = random.Random(0)
    checkpoints.save(0, state(0))
    checkpoints.save(1, state(1))
    files = sorted(path for path in (checkpoints.folder / "1").rglob("*") if path.is_file())
    for number in range(max(NUM_FLIPS, len(files))):
        path = files[number % len(files)]
        place, bit = rng.randrange(path.stat().st_size), rng.randrange(8)
        flip(path, place, bit)
        name = path.relative_to(checkpoints.folder / "1").as_posix()
        with pytest.raises(WorkdirError, match=rf"checkpoint of round 1 in .* is damaged, in {name}\."):
            checkpoints.restore(1, STATE)
        caplog.clear()
        assert_is(checkpoints.restore_newest(), 0)
        assert f"in {name}. Using the newest intact round before it." in caplog.text
        flip(path, place, bit)
    assert_is(checkpoints.restore_newest(template=STATE), 1)


def test_the_newest_sound_round_up_to_a_given_one(checkpoints, caplog):
    assert checkpoints.restore_newest() is None
    for round_index in range(4):
        checkpoints.save(round_index, state(round_index))
    assert_is(checkpoints.restore_newest(2), 2)
    assert not caplog.records
    for round_index in (0, 2):
        flip(checkpoints.folder / str(round_index) / MANIFEST, 40, 2)
    assert_is(checkpoints.restore_newest(2, STATE), 1)
    assert checkpoints.restore_newest(0) is None
    assert_is(checkpoints.restore_newest(9), 3)
    assert "has no checkpoint of round 9; using an older one" in caplog.text


def test_a_checkpoint_says_what_it_was_made_from(checkpoints):
    checkpoints.save(3, STATE, provenance={"config": {"seed": 5}, "num_answers": 12})
    provenance = checkpoints.restore_newest().provenance
    assert provenance["config"] == {"seed": 5}
    assert (provenance["num_answers"], provenance["round_index"]) == (12, 3)
    assert {"python", "jax", "orbax-checkpoint", "anneal-jax"} <= set(provenance["versions"])


def test_without_a_template_a_state_comes_back_in_dicts(checkpoints):
    nested = {"params": {"inner": STATE, "none": None}, "scale": np.float32(2)}
    checkpoints.save(0, nested)
    restored = checkpoints.restore(0)
    np.testing.assert_array_equal(restored["params"]["inner"]["mean"], STATE["mean"])
    assert restored["params"]["none"] is None
    assert type(restored["params"]["inner"]["weights"]) is np.ndarray


def test_a_round_of_an_older_version_is_taken_with_a_warning_after_all_others(checkpoints, caplog):
    checkpoints.save(0, state(0))
    checkpoints.save(1, state(1))
    (checkpoints.folder / "1" / MANIFEST).unlink()
    assert_is(checkpoints.restore_newest(), 0)
    (checkpoints.folder / "0" / MANIFEST).unlink()
    found = checkpoints.restore_newest()
    assert_is(found, 1)
    assert found.provenance is None
    assert "round 1 in" in caplog.text and "so it cannot be verified" in caplog.text


def test_a_reader_changes_nothing_and_makes_nothing(checkpoints, tmp_path):
    checkpoints.save(0, state(0))
    (checkpoints.folder / "1.orbax-checkpoint-tmp").mkdir()
    before = {path: path.stat().st_mtime_ns for path in checkpoints.folder.rglob("*")}
    with closing(RoundCheckpoints(checkpoints.folder, read_only=True)) as reader:
        assert_is(reader.restore_newest(), 0)
    assert {path: path.stat().st_mtime_ns for path in checkpoints.folder.rglob("*")} == before
    with closing(RoundCheckpoints(tmp_path / "absent", read_only=True)) as reader:
        assert reader.restore_newest() is None
    assert not (tmp_path / "absent").exists()


SAVE = """
import json, os, signal, sys
import numpy as np
import orbax.checkpoint
from anneal_jax.training import checkpoints
folder, moment = json.loads(sys.argv[1])
def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)
def write_and_die(*arguments, write_sealed=checkpoints.write_sealed):
    os.fsync = die
    write_sealed(*arguments)
opened = checkpoints.RoundCheckpoints(folder)
state = {"weights": np.ones((20, 15), np.float32), "mean": np.ones(7, np.float32)}
if moment == "while orbax writes":
    orbax.checkpoint.CheckpointManager.wait_until_finished = die
elif moment == "before the manifest":
    checkpoints.write_sealed = die
elif moment == "inside the manifest":
    checkpoints.write_sealed = write_and_die
opened.save(1, state)
print("saved", flush=True)
die()
"""


@pytest.mark.parametrize(
    ("moment", "is_there"),
    [
        ("while orbax writes", False),
        ("before the manifest", False),
        ("inside the manifest", False),
        ("after the save", True),
    ],
)
def test_kill_9_during_a_save_leaves_the_round_before_it(checkpoints, moment, is_there):
    checkpoints.save(0, state(0))
    arguments = json.dumps([str(checkpoints.folder), moment])
    killed = run_python("-c", SAVE, arguments, environment={"XLA_FLAGS": ""})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert ("saved" in killed.stdout) == is_there
    with closing(RoundCheckpoints(checkpoints.folder)) as reopened:
        left = {path.name for path in checkpoints.folder.rglob("*")}
        assert not [name for name in left if "tmp" in name]
        assert reopened.restore_newest().round_index == int(is_there)
        reopened.save(1, state(1))
        assert_is(reopened.restore_newest(), 1)
