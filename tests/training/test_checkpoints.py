import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anneal_jax.errors import WorkdirError
from anneal_jax.training.checkpoints import RoundCheckpoints
from anneal_jax.training.head_steps import HeadParams
from tests.launching import run_python

SAVE = """
import os, signal, sys
import numpy as np
from anneal_jax.training.checkpoints import RoundCheckpoints
RoundCheckpoints(sys.argv[1]).save(3, {"weights": np.arange(5, dtype=np.float32)})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def checkpoints(tmp_path):
    opened = RoundCheckpoints(tmp_path / "checkpoints")
    yield opened
    opened.close()


def state(seed=0, with_classifier=True):
    rng = np.random.default_rng(seed)
    layers = lambda: {"params": {"dense_0": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)}}  # noqa: E731
    heads = HeadParams(layers(), layers() if with_classifier else None)
    return {"params": heads, "feature_mean": np.float32(rng.normal(size=7))}


def assert_equal_numpy(restored, saved):
    assert jax.tree.structure(restored) == jax.tree.structure(saved)
    for found, expected in zip(jax.tree.leaves(restored), jax.tree.leaves(saved), strict=True):
        assert type(found) is np.ndarray
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("with_classifier", [True, False])
def test_a_round_comes_back_bit_by_bit_as_numpy(checkpoints, with_classifier):
    saved = state(1, with_classifier)
    checkpoints.save(0, state(0, with_classifier))
    checkpoints.save(1, saved)
    assert_equal_numpy(checkpoints.restore(1, state(2, with_classifier)), saved)


def test_arrays_spread_over_eight_devices_come_back(checkpoints):
    mesh = jax.make_mesh((8,), ("devices",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("devices"))
    spread = {"weights": jax.device_put(np.arange(16, dtype=np.float32), sharding)}
    assert len(spread["weights"].devices()) == 8
    checkpoints.save(0, spread)
    restored = checkpoints.restore(0, {"weights": np.zeros(16, np.float32)})
    assert_equal_numpy(restored, {"weights": np.arange(16, dtype=np.float32)})


def test_a_second_attempt_at_a_round_replaces_the_first(checkpoints):
    checkpoints.save(0, state(0))
    checkpoints.save(0, state(1))
    assert_equal_numpy(checkpoints.restore(0, state(2)), state(1))


def test_a_missing_round_is_refused_with_the_rounds_there_are(checkpoints):
    checkpoints.save(0, state())
    checkpoints.save(2, state())
    with pytest.raises(WorkdirError, match=r"no complete checkpoint of round 1; rounds present: \[0, 2\]"):
        checkpoints.restore(1, state())


def test_a_step_left_half_written_is_no_round_and_can_be_saved_again(checkpoints):
    checkpoints.save(0, state(0))
    (half,) = checkpoints.folder.glob("0")
    unfinished = checkpoints.folder / "1.orbax-checkpoint-tmp"
    unfinished.mkdir()
    (unfinished / "_METADATA").write_bytes((half / "_CHECKPOINT_METADATA").read_bytes()[:5])
    reopened = RoundCheckpoints(checkpoints.folder)
    with pytest.raises(WorkdirError, match=r"rounds present: \[0\]"):
        reopened.restore(1, state())
    reopened.save(1, state(1))
    assert_equal_numpy(reopened.restore(1, state(2)), state(1))
    assert_equal_numpy(reopened.restore(0, state(2)), state(0))
    reopened.close()


@pytest.mark.parametrize(
    ("files", "damage"),
    [
        ("default/d/*", lambda path: path.write_bytes(path.read_bytes()[:-9])),
        ("default/d/*", lambda path: path.unlink()),
        ("default/manifest.ocdbt", lambda path: path.write_bytes(b"")),
        ("default/_METADATA", lambda path: path.write_text("{")),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_sentence(checkpoints, files, damage):
    single = {"weights": np.arange(50, dtype=np.float32)}  # orbax abandons further reads noisily
    checkpoints.save(4, single)
    for path in list((checkpoints.folder / "4").glob(files)):
        damage(path)
    with pytest.raises(WorkdirError, match=r"of round 4 in .* is damaged.*remove rounds\.jsonl") as refusal:
        checkpoints.restore(4, single)
    assert str(checkpoints.folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_round_is_on_disk_when_save_returns_whatever_kills_the_process_then(tmp_path):
    # One device there, eight here: a restore does not depend on either.
    killed = run_python("-c", SAVE, tmp_path, environment={"XLA_FLAGS": ""})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    reopened = RoundCheckpoints(tmp_path)
    restored = reopened.restore(3, {"weights": np.zeros(5, np.float32)})
    assert_equal_numpy(restored, {"weights": np.arange(5, dtype=np.float32)})
    reopened.close()
