import importlib
import subprocess
import sys

import pytest

import anneal_jax

PUBLIC = [
    "AnnealError",
    "Answer",
    "ExperimentConfig",
    "Outcome",
    "__version__",
    "load_embedder",
    "open_annotation",
    "open_archive",
    "pairwise_cosine_similarity",
    "run_experiment",
    "scan_pairs",
    "threshold_scorer",
]


def test_the_public_names_are_these_in_order():
    assert anneal_jax.__all__ == PUBLIC == sorted(PUBLIC)
    assert dir(anneal_jax) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_loads_and_comes_from_the_module_that_defines_it(name):
    value = getattr(anneal_jax, name)
    if callable(value):
        home = importlib.import_module(value.__module__)
        assert getattr(home, name) is value and value.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'anneal_jax' has no attribute 'Experimnt'"):
        anneal_jax.Experimnt  # noqa: B018


def test_importing_the_package_loads_nothing_heavy():
    script = "import sys, anneal_jax; print(sorted({'jax', 'numpy', 'flax'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
