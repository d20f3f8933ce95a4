"""What holds for every archive, the digits, and the words for a wrong spec."""

import numpy as np
import pytest
from PIL import Image

from anneal_jax.data.archives import open_archive, require_classes
from anneal_jax.data.catalogue import numbered_ids
from anneal_jax.errors import ArchiveError, ConfigError


@pytest.fixture(params=["digits", "folder", "embeddings"])
def archive(request, tmp_path):
    """One archive of each scheme, of two classes at least."""
    rng = np.random.default_rng(11)
    if request.param == "digits":
        return open_archive("digits")
    if request.param == "folder":
        for number, pixels in enumerate(rng.integers(0, 255, (5, 9, 9, 3), np.uint8)):
            path = tmp_path / f"class{number % 2}" / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)
        return open_archive(f"folder:{tmp_path}")
    np.savez(tmp_path / "e.npz", embeddings=rng.standard_normal((5, 3)), labels=[0, 1, 1, 0, 1])
    return open_archive(f"embeddings:{tmp_path}/e.npz")


def test_contract_of_every_archive(archive):
    num_tiles = len(archive.ids)
    assert len(set(archive.ids)) == num_tiles
    assert all(isinstance(tile_id, str) for tile_id in archive.ids)
    labels = require_classes(archive)
    assert labels.dtype == np.int32
    assert labels.shape == (num_tiles,)
    assert labels.max() + 1 == len(archive.class_names)
    assert archive.digests().shape == (num_tiles, 32)
    assert archive.digests().dtype == np.uint8
    assert archive.spec.partition(":")[0] in ("digits", "folder", "embeddings")
    assert archive.notes == ()


def test_load_is_pure_and_keeps_the_order_asked(archive):
    forward = archive.load([0, 3, 1], image_size=6)
    shape, dtype = ((6, 6, 3), np.uint8) if archive.kind == "image" else ((3,), np.float32)
    assert forward.shape == (3, *shape)
    assert forward.dtype == dtype
    np.testing.assert_array_equal(archive.load(np.array([1, 3, 0]), image_size=6), forward[::-1])
    assert archive.load([], image_size=6).shape == (0, *shape)
    with pytest.raises(IndexError, match=f"outside the archive's {len(archive.ids)} tiles"):
        archive.load([len(archive.ids)], image_size=6)


def test_archives_are_frozen(archive):
    with pytest.raises(AttributeError):
        archive.spec = "other"


def test_digits():
    digits = open_archive("digits")
    assert len(digits.ids) == 1797
    assert (digits.ids[0], digits.ids[-1]) == ("digits0000", "digits1796")
    assert digits.class_names == tuple("0123456789")
    tiles = digits.load(range(20), image_size=8)
    assert tiles.max() == 255
    np.testing.assert_array_equal(tiles[..., 0], tiles[..., 2])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("digit", "unknown archive 'digit'; did you mean digits?"),
        ("foldr:/data", "did you mean folder:PATH?"),
        ("embedding:x.npz", "did you mean embeddings:"),
        ("", "An archive is one of digits, bluemarble, folder:PATH, embeddings:FILE, geotiff:PATH"),
        ("tiles.GPQ", "did you mean embeddings:tiles.GPQ"),
        ("features.npz", "did you mean embeddings:features.npz"),
        ("/", "did you mean folder:/"),
        ("digits:8", "digits has no location, but '8' was given; write digits"),
    ],
)
def test_wrong_specs(spec, message):
    with pytest.raises(ArchiveError) as error:
        open_archive(spec)
    assert message in str(error.value)


def test_require_classes_on_missing_labels(tmp_path):
    np.savez(tmp_path / "none.npz", embeddings=np.eye(3))
    with pytest.raises(ArchiveError, match=r"none.npz has no class labels, and a simulated oracle"):
        require_classes(open_archive(f"embeddings:{tmp_path}/none.npz"))
    np.savez(tmp_path / "some.npz", embeddings=np.eye(3), labels=[0, -1, -1])
    with pytest.raises(ArchiveError, match="2 tiles without a class label, the first 'row1'"):
        require_classes(open_archive(f"embeddings:{tmp_path}/some.npz"))


def test_image_size_must_be_positive():
    with pytest.raises(ConfigError, match="image_size is 0; give a number of pixels of at least 1"):
        open_archive("digits").load([0], image_size=0)


@pytest.mark.parametrize("num_tiles", [1, 10, 11, 1001])
def test_numbered_ids_sort_as_numbers(num_tiles):
    ids = numbered_ids("t", num_tiles)
    assert list(ids) == sorted(set(ids))
