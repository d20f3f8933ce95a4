import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.training import blocks
from anneal_jax.training.blocks import map_blocks, padded


@pytest.fixture
def three_rows(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 3)


@pytest.mark.parametrize("num_rows", [0, 1, 2, 3, 4, 6, 10])
@pytest.mark.usefixtures("three_rows")
def test_blocks_give_what_one_call_gives(num_rows):
    rows = np.random.default_rng(0).normal(size=(num_rows, 2))
    shapes = set()

    def function(block):
        shapes.add(block.shape)
        return block**2, {"sums": block.sum(axis=1)}

    squares, rest = map_blocks(function, rows)
    np.testing.assert_array_equal(squares, rows**2)
    np.testing.assert_array_equal(rest["sums"], rows.sum(axis=1))
    assert shapes == {(min(max(num_rows, 1), 3), 2)}


@given(st.integers(0, 5), st.integers(0, 5), st.sampled_from([(), (2,), (2, 3)]))
def test_padding_adds_zeros_at_the_end(num_rows, missing, rest):
    rows = np.ones((num_rows, *rest), np.uint8)
    found = padded(rows, num_rows + missing)
    assert found.shape == (num_rows + missing, *rest)
    assert found.dtype == np.uint8
    assert found[:num_rows].all()
    assert not found[num_rows:].any()
