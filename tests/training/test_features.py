import dataclasses
import logging
import tracemalloc

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anneal_jax.data.archives import open_archive
from anneal_jax.errors import ConfigError, WeightsError
from anneal_jax.models.backbones import get_backbone
from anneal_jax.models.pretrained import load_pretrained, weights_digest
from anneal_jax.training import features as features_module
from anneal_jax.training.features import (
    cache_key,
    default_cache_dir,
    extract_features,
    standardisation,
)


@dataclasses.dataclass
class FakeArchive:
    """Random tiles in memory; counts how often each was loaded."""

    tiles: np.ndarray
    kind: str = "image"
    spec: str = "fake"
    labels: None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        self.ids = [f"{i:03d}" for i in range(len(self.tiles))]
        self.loads = np.zeros(len(self.tiles), int)

    def load(self, indices, image_size, resampling="bilinear"):
        if self.kind == "vector":
            return self.tiles[indices]
        assert image_size <= self.tiles.shape[1]
        np.add.at(self.loads, indices, 1)
        return self.tiles[indices, :image_size, :image_size]

    def digests(self):
        sums = self.tiles.reshape(len(self.tiles), -1).astype(np.int64)
        weighted = sums @ np.arange(1, sums.shape[1] + 1)
        return np.stack([np.full(32, w % 251, np.uint8) for w in weighted])


PIXELS = get_backbone("pixels")


@pytest.fixture
def archive():
    return FakeArchive(np.random.default_rng(0).integers(0, 256, (11, 8, 8, 3), dtype=np.uint8))


def _extract(archive, **changes):
    arguments = {"backbone": PIXELS, "variables": {}, "image_size": 8, "weights_digest": "none"}
    return extract_features(archive, **(arguments | changes))


def _key(archive, backbone=PIXELS, image_size=8, digest="none", code_version=1):
    return cache_key(archive, backbone, image_size, digest, code_version)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 16, None])
def test_every_tile_once_in_order_whatever_the_batch(archive, batch_size):
    features = _extract(archive, batch_size=batch_size)
    np.testing.assert_allclose(features, archive.tiles.reshape(11, -1) / 127.5 - 1, atol=1e-6)
    assert features.dtype == np.float32
    assert (archive.loads == 1).all()


def test_one_compile_for_all_batches(archive):
    backbone = _Counting(get_backbone("pixels"))
    _extract(archive, backbone=backbone, batch_size=4)
    assert backbone.traces == 1


class _Counting:
    """A backbone that counts how often it is traced."""

    def __init__(self, backbone):
        self.name, self.traces, self._backbone = backbone.name, 0, backbone
        self.resampling = backbone.resampling

    def __repr__(self):
        return repr(self._backbone)

    def apply(self, variables, images):
        self.traces += 1
        return self._backbone.apply(variables, images)


def test_cache_hit_gives_the_same_without_loading_or_computing(archive, tmp_path):
    first = _extract(archive, cache_dir=tmp_path / "new")
    backbone = _Counting(PIXELS)
    second = _extract(archive, backbone=backbone, cache_dir=tmp_path / "new")
    np.testing.assert_array_equal(first, second)
    assert backbone.traces == 0
    assert (archive.loads == 1).all()
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_cache_file_is_a_plain_npy(archive, tmp_path):
    features = _extract(archive, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), features)


def test_key_covers_all_that_a_feature_depends_on(archive):
    changed = FakeArchive(archive.tiles.copy())
    changed.tiles[7, 3, 3, 1] ^= 1
    keys = [
        _key(archive),
        _key(changed),
        _key(FakeArchive(archive.tiles[::-1])),
        _key(archive, image_size=7),
        _key(archive, digest="other"),
        _key(archive, code_version=2),
        _key(archive, backbone=get_backbone("tiny_cnn")),
        _key(archive, backbone=get_backbone("tiny_cnn", jax.numpy.bfloat16)),
        _key(archive, backbone=dataclasses.replace(PIXELS, mean=(0.0, 0.0, 0.0))),
    ]
    assert len(set(keys)) == len(keys)
    assert _key(FakeArchive(archive.tiles.copy())) == keys[0]


def _truncate(data):
    return data[:-100]


def _flip_a_value(data):
    return data[:200] + bytes([data[200] ^ 1]) + data[201:]


def _flip_the_header(data):
    return data.replace(b"'<f4'", b"'<i4'")


@pytest.mark.parametrize("damage", [_truncate, _flip_a_value, _flip_the_header, lambda data: b""])
def test_a_damaged_cache_file_is_reported_and_replaced(archive, tmp_path, caplog, damage):
    expected = _extract(archive, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    intact = path.read_bytes()
    path.write_bytes(damage(intact))
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(_extract(archive, cache_dir=tmp_path), expected)
    assert "are damaged" in caplog.text
    assert path.read_bytes() == intact


def test_another_keys_file_is_not_trusted(archive, tmp_path):
    expected = _extract(archive, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    other = FakeArchive(archive.tiles[::-1])
    path.rename(tmp_path / f"features-{_key(other)}.npy")
    np.testing.assert_array_equal(_extract(other, cache_dir=tmp_path), expected[::-1])


def test_ready_vectors_pass_through(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32)
    archive = FakeArchive(vectors, kind="vector")
    np.testing.assert_array_equal(_extract(archive, cache_dir=tmp_path), vectors)
    assert not list(tmp_path.iterdir())


def test_non_finite_features_are_refused_and_not_cached(archive, tmp_path):
    broken = dataclasses.replace(PIXELS, spread=(float("nan"), 1.0, 1.0))
    with pytest.raises(WeightsError, match="'pixels' gives nan"):
        _extract(archive, backbone=broken, cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_error_while_decoding_reaches_the_caller(archive):
    with pytest.raises(AssertionError):
        _extract(archive, image_size=9, batch_size=4)


def test_a_cache_folder_that_cannot_be_made_is_refused_before_the_work(archive, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"stored in .*file/below .*set cache_dir=FOLDER"):
        _extract(archive, cache_dir=tmp_path / "file" / "below")
    assert not archive.loads.any()


def test_a_cache_folder_that_cannot_be_written_to_is_refused_before_the_work(
    archive, tmp_path, monkeypatch
):
    def refuse(**arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(features_module.tempfile, "TemporaryFile", refuse)
    with pytest.raises(ConfigError, match=r"\(Permission denied\); set cache_dir=FOLDER"):
        _extract(archive, cache_dir=tmp_path)
    assert not archive.loads.any()


def test_default_cache_dir_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "anneal-jax"


@given(
    features=hnp.arrays(np.float32, (6, 4), elements=st.floats(-100, 100, width=32, allow_subnormal=False))
)
def test_standardisation_matches_its_twin_and_ignores_other_rows(features):
    train = [0, 2, 5]
    mean, scale = standardisation(features, train)
    for column in range(4):
        values = [float(features[row, column]) for row in train]
        centre = sum(values) / 3
        spread = (sum((v - centre) ** 2 for v in values) / 3) ** 0.5
        expected = 1.0 if len(set(values)) == 1 else spread
        assert mean[column] == pytest.approx(centre, rel=1e-6, abs=1e-6)
        assert scale[column] == pytest.approx(expected, rel=1e-5)
    others = features.copy()
    others[[1, 3, 4]] = 1e6
    np.testing.assert_array_equal(standardisation(others, train), (mean, scale))


def test_standardisation_in_blocks_matches_numpys(monkeypatch):
    monkeypatch.setattr(features_module, "BLOCK_ROWS", 7)
    features = np.random.default_rng(0).normal(3.0, 2.0, (50, 5)).astype(np.float32)
    features[:, 2] = 0.1
    train = np.arange(0, 50, 2)
    mean, scale = standardisation(features, train)
    exact = features[train].astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-6)
    expected = np.where(np.arange(5) == 2, 1.0, exact.std(axis=0))
    np.testing.assert_allclose(scale, expected, rtol=1e-6)


def test_standardisation_makes_no_float64_copy_of_all_features(monkeypatch):
    monkeypatch.setattr(features_module, "BLOCK_ROWS", 100)
    features = np.random.default_rng(0).normal(size=(10_000, 30)).astype(np.float32)
    tracemalloc.start()
    standardisation(features, np.arange(len(features)))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < features.nbytes / 2


def test_standardisation_needs_a_training_image():
    with pytest.raises(ConfigError, match="no training images"):
        standardisation(np.ones((2, 3), np.float32), [])


def _leave_one_out(features, labels):
    """Return (P@1, P@20, mAP) of cosine retrieval centred on the mean, in float64."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    similarities = unit @ unit.T
    np.fill_diagonal(similarities, -np.inf)
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :-1]
    hits = labels[order] == labels[:, None]
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    average_precision = (precision * hits).sum(axis=1) / hits.sum(axis=1)
    return hits[:, 0].mean(), hits[:, :20].mean(), average_precision.mean()


@pytest.mark.soak
def test_imported_mobilenet_reaches_its_acceptance_figures(ucm_dir, mobilenet_weights):
    archive = open_archive(f"folder:{ucm_dir}")
    backbone = get_backbone("mobilenet_v2")
    features = extract_features(
        archive,
        backbone,
        load_pretrained(backbone, mobilenet_weights),
        image_size=224,
        weights_digest=weights_digest(mobilenet_weights),
    )
    measured = _leave_one_out(features, np.asarray(archive.labels))
    np.testing.assert_allclose(measured, (0.950, 0.797, 0.610), atol=0.005)
