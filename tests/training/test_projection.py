"""What the background leaves in a file projects as it did there."""

import io

import jax
import numpy as np
import pytest

from anneal_jax.training.head_steps import init_heads, with_features
from anneal_jax.training.projection import Projection, from_arrays, to_arrays


@pytest.mark.parametrize("share", [None, 0.4])
def test_a_projection_comes_back_from_its_file(share):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6, 9)).astype(np.float32)
    heads = init_heads(jax.random.key(0), 9, with_classifier=False)
    if share is not None:
        heads = with_features(heads, rng.normal(size=(9, 4)).astype(np.float32), share)
    there = Projection(features.mean(axis=0), features.std(axis=0), heads.similarity)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **to_arrays(there), other=np.zeros(3))
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        here = from_arrays(arrays)
    np.testing.assert_array_equal(here(features), there(features))
    assert here(features).shape[1] == 256 + (4 if share else 0)
