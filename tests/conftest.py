"""Settings of every test: no silent promotion, several devices, programs compiled once, the real data."""

import os
import pathlib
import shutil
import time

# Before jax starts: eight CPU devices let every multi-device path run on any machine.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The tests run in as many processes as there are cores: threads of theirs would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# What one process of the tests has compiled, all others read, and those of later runs. An entry
# that a killed process left unfinished is passed over.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(__file__).parents[1] / ".pytest_cache" / "xla")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("PYTHONWARNINGS", "ignore:Error reading persistent compilation cache entry")

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


def pytest_configure(config: pytest.Config) -> None:
    """Write thousands of small files into memory, if it has room; `make soak` writes gigabytes."""
    memory = "/dev/shm"
    is_small = config.getoption("markexpr") != "soak"
    if is_small and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= 4 << 30:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", memory)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run last the tests that make JAX forget its programs; those after them compile theirs again."""
    items.sort(key=lambda item: isinstance(item, pytest.Function) and _counts_compilations(item))


def _counts_compilations(item: pytest.Function) -> bool:
    return "count_compilations" in item.function.__code__.co_names


def pytest_sessionstart(session: pytest.Session) -> None:
    """Forget what was compiled a week ago; most of that code has changed."""
    del session
    for program in pathlib.Path(os.environ["JAX_COMPILATION_CACHE_DIR"]).glob("*-cache"):
        if program.stat().st_mtime < time.time() - 7 * 24 * 3600:
            program.unlink(missing_ok=True)


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
