"""Strict settings for every test: no silent promotion, several devices, paths of the real data."""

import os
import pathlib

# Before jax starts: eight CPU devices let every multi-device path run on any machine.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import matplotlib
import pytest
from hypothesis import settings

matplotlib.use("Agg")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.devices()  # made now: a test may change the flags for processes of its own
settings.register_profile("fast", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("fast")

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def _existing(path: pathlib.Path) -> pathlib.Path:
    if not path.exists():
        pytest.skip(f"needs {path.name} beside the project (../shared); it is absent here")
    return path


@pytest.fixture(scope="session")
def ucm_dir() -> pathlib.Path:
    """Folder of the real UC Merced tiles; skips where it is absent."""
    return _existing(SHARED / "data" / "ucm")


@pytest.fixture(scope="session")
def mobilenet_weights() -> pathlib.Path:
    """The real MobileNetV2 weights; skips where they are absent."""
    return _existing(SHARED / "weights" / "mobilenet_v2_1.0_224_imagenet.npz")
