import jax
import numpy as np
import pytest

from anneal_jax.models.backbones import get_backbone
from anneal_jax.training import encoding
from anneal_jax.training.encoding import _encode_batch, encode, encode_batches, encode_feed
from anneal_jax.training.feed import ResidentFeed, make_mesh
from tests.compilations import count_compilations


@pytest.fixture(scope="module")
def tiles():
    return np.random.default_rng(0).integers(0, 256, (21, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def backbone():
    return get_backbone("tiny_cnn")


@pytest.fixture(scope="module")
def variables(backbone):
    return backbone.init(jax.random.key(0), 8)


def test_a_tiles_features_do_not_depend_on_the_batch_it_is_in(backbone, variables, tiles):
    whole = encode(backbone, variables, tiles)
    assert whole.shape == (21, 128)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole[17:19], encode(backbone, variables, tiles[17:19]), atol=1e-5)
    expected = jax.jit(backbone.apply)(variables, tiles)
    np.testing.assert_allclose(whole, expected, atol=1e-5)


def test_a_second_archive_compiles_nothing_new(backbone, variables, tiles):
    with count_compilations() as compiled:
        encode(backbone, variables, tiles)
        encode(get_backbone("tiny_cnn"), jax.tree.map(np.asarray, variables), tiles[:5])
    assert compiled["_encode_batch"] == 1


def test_products_are_taken_in_full_float32(backbone, variables, tiles):
    program = _encode_batch.trace(backbone, variables, tiles).jaxpr
    assert "precision=HIGHEST" in str(program) or "Precision.HIGHEST" in str(program)


def test_batches_may_be_of_any_size_up_to_the_one_compiled(tiles):
    batches = iter([tiles[:4], tiles[4:5], tiles[5:]])
    found = encode_batches(get_backbone("pixels"), {}, batches, num_tiles=21, batch_size=16)
    np.testing.assert_allclose(found, tiles.reshape(21, -1) / 127.5 - 1, atol=1e-6)


class Features:
    """What a device will have computed: tells when it is waited for."""

    def __init__(self, events):
        self.events, self.number = events, sum(name == "sent" for name, _ in events)
        events.append(("sent", self.number))

    def __array__(self, dtype=None, copy=None):
        self.events.append(("read", self.number))
        return np.full((8, 2), self.number, np.float32)


@pytest.mark.parametrize("source", ["memory", "feed"])
def test_a_batch_is_read_when_the_next_is_under_way(monkeypatch, backbone, variables, tiles, source):
    events = []
    for name in ("_encode_batch", "_encode_block"):
        monkeypatch.setattr(encoding, name, lambda *_: Features(events))
    monkeypatch.setattr(encoding, "default_batch_size", lambda: 8)
    if source == "memory":
        found = encode(backbone, variables, tiles)
    else:
        found = encode_feed(backbone, variables, ResidentFeed(tiles, make_mesh(1)))
    assert events == [("sent", 0), ("sent", 1), ("read", 0), ("sent", 2), ("read", 1), ("read", 2)]
    assert found[:, 0].tolist() == [0] * 8 + [1] * 8 + [2] * 5
