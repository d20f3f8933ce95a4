"""A checkpoint as one function: it gives what the run itself saw, wherever it is opened."""

import dataclasses
import json
import shutil
from contextlib import closing

import numpy as np
import pytest

import anneal_jax
from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive
from anneal_jax.errors import ArchiveError, WeightsError, WorkdirError
from anneal_jax.experiments.run import run_experiment
from anneal_jax.files.seals import write_sealed
from anneal_jax.retrieval import embedder as module
from anneal_jax.retrieval.embedder import load_embedder
from anneal_jax.training.checkpoints import RoundCheckpoints
from anneal_jax.training.learner import represent
from tests.conftest import ROOT
from tests.launching import run_python
from tests.small_tiles import write_digits

DIGITS = ExperimentConfig(
    archive="digits", backbone="pixels", initial_draw="random", rounds=1, steps=10, pairs_per_round=50
)


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """A workdir, and the embeddings that the run itself made of every tile."""
    return run(DIGITS, tmp_path_factory.mktemp("runs") / "digits")


def run(config, workdir):
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        keep = lambda *arguments: seen.append(represent(*arguments)) or seen[-1]  # noqa: E731
        patch.setattr(anneal_jax.experiments.run, "represent", keep)
        run_experiment(config, workdir)
    return workdir, seen[-1].embeddings


def test_three_lines_give_what_the_run_saw(digits_run):
    workdir, expected = digits_run
    embedder = anneal_jax.load_embedder(workdir)
    tiles = open_archive("digits").load(np.arange(30), 8)
    embeddings = embedder.embed(tiles)
    assert (
        (embeddings.dtype, embeddings.shape) == (np.float32, (30, embedder.dim)) == (np.float32, (30, 256))
    )
    np.testing.assert_allclose(embeddings, expected[:30], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    assert (embedder.kind, embedder.round_index) == ("image", 1)


def test_an_archive_is_embedded_as_its_tiles_are(digits_run, monkeypatch):
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 16)
    workdir, expected = digits_run
    rows = np.random.default_rng(0).permutation(1797)[:50]
    embeddings = load_embedder(workdir).embed_archive(open_archive("digits"), rows)
    np.testing.assert_allclose(embeddings, expected[rows], atol=1e-6)
    assert load_embedder(workdir).embed_archive(open_archive("digits"), rows[:0]).shape == (0, 256)


def test_tiles_of_any_size_are_squashed_as_an_archive_does_it(digits_run):
    embedder = load_embedder(digits_run[0])
    large = open_archive("digits").load([3, 4], 40)
    together = embedder.embed([large[0], large[1, :, :20], open_archive("digits").load([5], 8)[0]])
    assert together.shape == (3, 256)
    np.testing.assert_allclose(together[0], embedder.embed(large[:1])[0], atol=1e-6)
    assert embedder.embed([]).shape == (0, 256)


@pytest.mark.parametrize(
    "tiles",
    [np.zeros((2, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8), np.zeros((1, 8, 8, 4), np.uint8)],
)
def test_what_is_no_tile_is_refused(digits_run, tiles):
    with pytest.raises(ArchiveError, match=r"a tile is .*; give uint8\[N, H, W, 3\], RGB"):
        load_embedder(digits_run[0]).embed(tiles)


SMALL = {"rounds": 1, "steps": 4, "batch_size": 16, "pairs_per_round": 12, "initial_fraction": 0.05}


@pytest.mark.parametrize(
    "supervision", ["pairs", "class_labels", "group_ask", "tcal", "all_pairs", "belief_ask"]
)
@pytest.mark.parametrize("acquisition", ["mgue", "bcgue"])
def test_ready_vectors_under_every_kind_of_run(tmp_path, supervision, acquisition):
    if acquisition == "bcgue" and supervision != "pairs":
        pytest.skip("asks nothing")
    vectors = ROOT / "tests" / "golden" / "vectors.npz"
    config = ExperimentConfig(
        archive=f"embeddings:{vectors}", supervision=supervision, acquisition=acquisition, **SMALL
    )
    workdir, expected = run(dataclasses.replace(config, all_pairs_steps=4), tmp_path / "run")
    embedder = load_embedder(workdir)
    archive = open_archive(config.archive)
    np.testing.assert_allclose(embedder.embed(archive.load(np.arange(80), 0)), expected, atol=1e-6)
    np.testing.assert_allclose(embedder.embed_archive(archive, np.arange(80)), expected, atol=1e-6)
    with pytest.raises(ArchiveError, match=r"takes float\[N, 18\], as it was trained on"):
        embedder.embed(np.zeros((2, 8), np.float32))
    with pytest.raises(ArchiveError, match="a feature is nan or infinite"):
        embedder.embed(np.full((1, 18), np.nan, np.float32))
    with pytest.raises(
        ArchiveError, match=r"digits holds images, but the model in .* was trained on vectors"
    ):
        embedder.embed_archive(open_archive("digits"), np.arange(2))


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["frozen", "finetune"])
def test_a_network_of_random_weights_is_drawn_again_or_comes_from_the_checkpoint(tmp_path, regime, caplog):
    config = ExperimentConfig(
        archive=write_digits(tmp_path / "tiles", 60, size=16), image_size=16,
        backbone="tiny_cnn", pretrained="none",
        regime=regime, cache_dir=str(tmp_path / "cache"),
        epochs_first=1, epochs=1, initial_draw="random", **SMALL,
    )  # fmt: skip
    workdir, expected = run(config, tmp_path / "run")
    embedder = load_embedder(workdir)
    archive = open_archive(config.archive)
    np.testing.assert_allclose(embedder.embed_archive(archive, np.arange(60)), expected, atol=2e-5)
    assert not caplog.records

    manifest = workdir / "checkpoints" / "1" / "manifest.json"
    content = json.loads(manifest.read_text())["content"]
    content["provenance"]["versions"]["jax"] = "0.1.0"
    write_sealed(manifest, content)
    assert load_embedder(workdir).fingerprint == embedder.fingerprint
    warned = "the run drew them by jax 0.1.0, which may differ" in caplog.text
    assert warned == (regime == "frozen")


def test_equal_models_have_one_fingerprint_wherever_they_lie_and_others_another(digits_run, tmp_path):
    workdir, _ = digits_run
    shutil.copytree(workdir, tmp_path / "copy")
    fingerprint = load_embedder(workdir).fingerprint
    assert load_embedder(tmp_path / "copy").fingerprint == fingerprint
    shutil.rmtree(tmp_path / "copy" / "checkpoints" / "1")
    assert load_embedder(tmp_path / "copy").fingerprint != fingerprint


def test_the_workdir_is_only_read(digits_run, tmp_path):
    workdir, _ = digits_run
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    load_embedder(workdir)
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == before
    with pytest.raises(WorkdirError, match="has no intact checkpoint; give the workdir of a run"):
        load_embedder(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_a_damaged_round_is_named_and_the_one_before_it_taken(digits_run, tmp_path, caplog):
    shutil.copytree(digits_run[0], tmp_path / "run")
    (damaged,) = (tmp_path / "run" / "checkpoints" / "1" / "default" / "d").iterdir()
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert load_embedder(tmp_path / "run").round_index == 0
    assert (
        "checkpoint of round 1 in" in caplog.text
        and "Using the newest intact round before it" in caplog.text
    )
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "0")
    with pytest.raises(WorkdirError, match="has no intact checkpoint"):
        load_embedder(tmp_path / "run")


def test_a_workdir_of_an_older_version_opens_with_a_warning(digits_run, tmp_path, caplog):
    shutil.copytree(digits_run[0], tmp_path / "run")
    for manifest in (tmp_path / "run" / "checkpoints").glob("*/manifest.json"):
        manifest.unlink()
    embedder = load_embedder(tmp_path / "run")
    assert embedder.fingerprint == load_embedder(digits_run[0]).fingerprint
    assert "round 1 in" in caplog.text and "so it cannot be verified" in caplog.text


def test_weights_that_are_not_those_of_the_run_are_refused(digits_run, tmp_path, monkeypatch):
    config = dataclasses.replace(DIGITS, pretrained="weights.npz")
    state = {"params": {"similarity": {}}, "feature_mean": np.zeros(192), "feature_scale": np.ones(192)}
    with closing(RoundCheckpoints(tmp_path / "checkpoints")) as checkpoints:
        provenance = {"config": dataclasses.asdict(config), "inputs": {"weights": "ab" * 32}}
        checkpoints.save(0, state, provenance=provenance)
    network = module.load_network(DIGITS)._replace(digest="cd" * 32)
    opened = []
    monkeypatch.setattr(
        module, "load_network", lambda config, inputs: opened.append(config.pretrained) or network
    )
    sentence = "moved.npz is not the weights file that the run was trained on.*begins with abababababab"
    with pytest.raises(WeightsError, match=sentence):
        load_embedder(tmp_path, pretrained="moved.npz")
    assert opened == ["moved.npz"]


ELSEWHERE = """
import sys, jax, numpy as np
from anneal_jax import load_embedder, open_archive
assert len(jax.devices()) == int(sys.argv[2])
embeddings = load_embedder(sys.argv[1]).embed(open_archive("digits").load(np.arange(20), 8))
np.save(sys.argv[3], embeddings)
"""


def test_a_run_on_eight_devices_opens_on_one(digits_run, tmp_path):
    workdir, expected = digits_run
    arguments = (workdir, 1, tmp_path / "found.npy")
    done = run_python("-c", ELSEWHERE, *arguments, environment={"XLA_FLAGS": ""})
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected[:20], atol=1e-6)
