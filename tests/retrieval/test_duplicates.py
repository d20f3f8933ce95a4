"""Copies planted in small archives, against a comparison of all pairs by plain loops."""

import csv
import itertools

import numpy as np
import pytest
from PIL import Image, ImageFilter

from anneal_jax.data.archives import open_archive
from anneal_jax.errors import ConfigError
from anneal_jax.retrieval.duplicates import find_duplicates
from tests.launching import run_script


def brute_force(archive, limit):
    """Return {(i, j): difference} of all pairs of images within the limit."""
    tiles = archive.load(range(len(archive.ids)), 32, "box").astype(np.float64)
    found = {}
    for i, j in itertools.combinations(range(len(tiles)), 2):
        difference = np.sqrt(np.mean((tiles[i] - tiles[j]) ** 2))
        if difference <= limit:
            found[i, j] = difference
    return found


@pytest.fixture
def tiles(tmp_path):
    """Smooth tiles, even ones, and copies: one exact, one recompressed, one brighter by two levels."""
    rng = np.random.default_rng(5)
    folder = tmp_path / "tiles"
    folder.mkdir()
    for number in range(12):
        noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
        noise.filter(ImageFilter.GaussianBlur(6)).save(folder / f"{number:02d}.png")
    for level in (0, 1, 100, 250, 254):
        Image.new("RGB", (64, 64), (level, level, level)).save(folder / f"even{level:03d}.png")
    (folder / "copy.png").write_bytes((folder / "03.png").read_bytes())
    with Image.open(folder / "04.png") as image:
        image.save(folder / "recompressed.jpg", quality=95)
        brighter = np.minimum(np.asarray(image).astype(int) + 2, 255).astype(np.uint8)
        Image.fromarray(brighter).save(folder / "brighter.png")
    return folder


@pytest.mark.parametrize("limit", [0.5, 2.5, 4.0, 12.0])
def test_near_copies_are_those_of_plain_loops(tiles, limit):
    archive = open_archive(f"folder:{tiles}")
    found = find_duplicates(archive, max_difference=limit)
    copy, original = archive.ids.index("copy.png"), archive.ids.index("03.png")
    assert found.identical.tolist() == [[original, copy]]  # in the order of the archive
    expected = {pair: d for pair, d in brute_force(archive, limit).items() if copy not in pair}
    assert {tuple(pair) for pair in found.near.tolist()} == set(expected)
    np.testing.assert_allclose(found.differences, sorted(expected.values()), atol=1e-9)
    assert not found.is_cut


def test_planted_copies_are_found_at_the_stated_limit(tiles):
    archive = open_archive(f"folder:{tiles}")
    found = find_duplicates(archive)
    names = {tuple(archive.ids[row] for row in pair) for pair in found.near.tolist()}
    assert ("04.png", "recompressed.jpg") in names and ("04.png", "brighter.png") in names
    assert ("even000.png", "even001.png") in names and ("even250.png", "even254.png") in names
    assert not any("even100.png" in pair for pair in names)


def test_more_pairs_than_fit_are_said_to_be_cut(tiles):
    found = find_duplicates(open_archive(f"folder:{tiles}"), max_difference=200.0, most_pairs=5)
    assert len(found.near) == 5 and found.is_cut


def test_vectors_differ_by_their_cosine(tmp_path):
    vectors = np.random.default_rng(1).standard_normal((40, 16)).astype(np.float32)
    vectors[7] = 3.0 * vectors[2]
    vectors[9] = vectors[5]
    vectors[30] = vectors[5] + 0.01
    np.savez(tmp_path / "e.npz", embeddings=vectors)
    found = find_duplicates(open_archive(f"embeddings:{tmp_path / 'e.npz'}"))
    assert found.identical.tolist() == [[5, 9]]
    assert sorted(found.near.tolist()) == [[2, 7], [5, 30]]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert found.differences[1] == pytest.approx(1 - float(unit[5] @ unit[30]), abs=1e-6)


def test_a_limit_must_be_positive(tiles):
    with pytest.raises(ConfigError, match="max_difference=0 must be above 0"):
        find_duplicates(open_archive(f"folder:{tiles}"), max_difference=0)


def test_from_the_command_line(tiles, tmp_path):
    arguments = [f"--archive=folder:{tiles}", f"--csv={tmp_path / 'found.csv'}"]
    done = run_script("duplicates", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "1 tiles are identical to an earlier one; 5 pairs of others differ little."
    )
    with (tmp_path / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"kind": "identical", "difference": "0", "first": "03.png", "second": "copy.png"}
    assert len(rows) == 6
    assert [float(row["difference"]) for row in rows] == sorted(float(row["difference"]) for row in rows)


@pytest.mark.slow
def test_the_real_tiles_hold_one_copy_and_none_that_is_near(ucm_dir):
    archive = open_archive(f"folder:{ucm_dir}")
    found = find_duplicates(archive, max_difference=5.0)
    assert [[archive.ids[row] for row in pair] for pair in found.identical] == [
        ["airplane/airplane01.jpg", "airplane/airplane02.jpg"]
    ]
    # Two even fields of different places are the nearest; the default, 4, keeps clear of them.
    assert [archive.ids[row] for row in found.near.ravel()] == [
        "agricultural/agricultural63.jpg",
        "agricultural/agricultural95.jpg",
    ]
    assert found.differences[0] == pytest.approx(4.947, abs=0.01)
