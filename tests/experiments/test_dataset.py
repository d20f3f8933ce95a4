from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive
from anneal_jax.errors import ArchiveError
from anneal_jax.experiments import dataset
from anneal_jax.experiments.dataset import identical_pairs, load_dataset

DIGITS = open_archive("digits")


@pytest.fixture
def vectors(tmp_path):
    """An archive of 40 vectors of two classes, of which rows 3, 5, 8 and 20 are the same."""
    embeddings = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    embeddings[[5, 8, 20]] = embeddings[3]
    path = tmp_path / "vectors.npz"
    np.savez(path, embeddings=embeddings, labels=np.arange(40) % 2)
    return f"embeddings:{path}"


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_identical_pairs_are_all_pairs_within_a_group(groups):
    expected = [
        i * len(groups) + j for i, j in combinations(range(len(groups)), 2) if groups[i] == groups[j]
    ]
    found = identical_pairs(np.array(groups, np.int32), DIGITS)
    assert found.dtype == np.int64
    assert found.tolist() == expected


def test_a_dataset_lists_its_identical_tiles(vectors):
    keys = load_dataset(ExperimentConfig(archive=vectors)).identical
    assert keys.tolist() == [40 * i + j for i, j in combinations([3, 5, 8, 20], 2)]


def test_too_many_copies_are_refused_with_their_number_and_one_of_them(vectors, monkeypatch):
    monkeypatch.setattr(dataset, "_MAX_IDENTICAL_PAIRS", 5)
    message = r"6 pairs of identical tiles, more than the 5 .* 4 copies of 'row03'\. Remove the copies\.$"
    with pytest.raises(ArchiveError, match=message):
        load_dataset(ExperimentConfig(archive=vectors))


def test_a_huge_group_is_refused_before_its_pairs_are_listed():
    with pytest.raises(ArchiveError, match=r"1,999,999,000,000 pairs .* 2,000,000 copies of 'digits0000'"):
        identical_pairs(np.zeros(2_000_000, np.int32), DIGITS)
