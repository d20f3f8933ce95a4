"""Folders of tiles: what is taken, what is refused in which words, and that nothing is touched."""

import hashlib
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from anneal_jax.data.archives import open_archive, require_classes
from anneal_jax.data.splits import duplicate_groups, split_images
from anneal_jax.errors import ArchiveError, ConfigError


def save_tile(path: pathlib.Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 10), (grey, grey, grey)).save(path)


@pytest.fixture
def tiles(tmp_path) -> pathlib.Path:
    """Four tiles of two classes under names that need care."""
    root = tmp_path / "my tiles, Zürich: 2024"
    save_tile(root / "rivière" / "b b.png", 10)
    save_tile(root / "rivière" / "deep" / "a.JPG", 20)
    save_tile(root / "beach" / "x,y.tif", 30)
    save_tile(root / "beach" / "z.jpeg", 40)
    return root


def break_tile(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def test_sorted_labelled_and_loaded_in_the_order_asked(tiles):
    archive = open_archive(f"folder:{tiles}")
    assert archive.ids == (
        "beach/x,y.tif",
        "beach/z.jpeg",
        "rivière/b b.png",
        "rivière/deep/a.JPG",
    )
    assert archive.class_names == ("beach", "rivière")
    assert archive.labels.tolist() == [0, 0, 1, 1]
    assert archive.notes == ()
    loaded = archive.load([2, 0, 0], image_size=8)
    assert loaded.shape == (3, 8, 8, 3)
    assert loaded.dtype == np.uint8
    assert loaded[:, 0, 0, 0].tolist() == [10, 30, 30]


def test_digests_are_those_of_the_files(tiles):
    archive = open_archive(f"folder:{tiles}")
    for name, digest in zip(archive.ids, archive.digests(), strict=True):
        assert digest.tobytes() == hashlib.sha256((tiles / name).read_bytes()).digest()


def test_flat_folder_has_no_labels(tmp_path):
    save_tile(tmp_path / "a.png", 1)
    archive = open_archive(f"folder:{tmp_path}")
    assert archive.labels is None
    assert archive.class_names == ()


def test_home_and_relative_paths(tiles, monkeypatch):
    monkeypatch.setenv("HOME", str(tiles.parent))
    monkeypatch.chdir(tiles.parent)
    for location in (f"~/{tiles.name}", tiles.name, f"./{tiles.name}/"):
        archive = open_archive(f"folder:{location}")
        assert archive.spec == f"folder:{location}"
        with monkeypatch.context() as elsewhere:
            elsewhere.chdir("/")
            assert archive.load([0], image_size=2)[0, 0, 0, 0] == 30


def test_other_files_are_counted_and_hidden_ones_passed_over(tiles):
    for name in ("list.csv", "notes.txt", "beach/more.TXT", "README", ".hidden.jpg"):
        (tiles / name).write_text("no image")
    save_tile(tiles / ".thumbnails" / "t.png", 9)
    save_tile(tiles / "loose.png", 9)
    archive = open_archive(f"folder:{tiles}")
    assert len(archive.ids) == 5
    assert archive.labels.tolist() == [0, 0, -1, 1, 1]
    assert archive.notes == (
        "Files of other kinds are ignored: 2 .txt, 1 .csv, 1 no ending.",
        "Images outside the class folders have no label: 'loose.png'.",
    )


def test_links_to_files_are_followed_and_links_to_folders_are_not(tiles):
    (tiles / "beach" / "linked.png").symlink_to(tiles / "rivière" / "b b.png")
    (tiles / "beach" / "loop").symlink_to(tiles, target_is_directory=True)
    archive = open_archive(f"folder:{tiles}")
    assert "beach/linked.png" in archive.ids
    assert len(archive.ids) == 5
    assert archive.notes == ("Links to folders are not followed: 'beach/loop'.",)


def test_one_bad_file_is_named_with_what_to_do(tiles):
    break_tile(tiles / "beach" / "z.jpeg")
    with pytest.raises(ArchiveError) as error:
        open_archive(f"folder:{tiles}")
    message = str(error.value)
    assert message.startswith(f"{tiles}: 1 of 4 images cannot be used: 'beach/z.jpeg' is truncated")
    assert message.endswith("Repair them, or set on_bad_image=skip to leave them out.")
    assert "\n" not in message


def test_of_many_bad_files_five_are_named(tiles):
    for number in range(8):
        (tiles / "beach" / f"bad{number}.png").write_text("not found")
    with pytest.raises(ArchiveError, match=r"8 of 12 images .*'beach/bad4.png' .*; and 3 more") as e:
        open_archive(f"folder:{tiles}")
    assert "bad5" not in str(e.value)


def test_skip_leaves_out_and_says_so_by_reason(tiles):
    break_tile(tiles / "beach" / "z.jpeg")
    (tiles / "beach" / "gone.png").symlink_to(tiles / "nowhere.png")
    for number in range(2):
        (tiles / "rivière" / f"page{number}.png").write_text("<html>")
    archive = open_archive(f"folder:{tiles}", on_bad_image="skip")
    assert archive.ids == ("beach/x,y.tif", "rivière/b b.png", "rivière/deep/a.JPG")
    assert archive.labels.tolist() == [0, 1, 1]
    assert archive.notes == (
        "Left out 1 images; each cannot be read: 'beach/gone.png'.",
        "Left out 2 images; each does not contain a JPEG, PNG, TIFF, WebP, JPEG 2000 or BMP file:"
        " 'rivière/page0.png', 'rivière/page1.png'.",
        "Left out 1 images; each is truncated or corrupt: 'beach/z.jpeg'.",
    )


def test_a_class_with_only_bad_files_disappears(tiles):
    for path in (tiles / "beach").iterdir():
        path.write_bytes(b"")
    archive = open_archive(f"folder:{tiles}", on_bad_image="skip")
    assert archive.class_names == ("rivière",)
    with pytest.raises(ArchiveError, match="has the single class 'rivière', which makes every"):
        require_classes(archive)


def test_a_pipe_is_refused_and_not_waited_for(tiles):
    os.mkfifo(tiles / "beach" / "pipe.png")
    with pytest.raises(ArchiveError, match=r"'beach/pipe.png' is not a regular file"):
        open_archive(f"folder:{tiles}")


def test_a_name_outside_utf8_is_refused(tiles):
    save_tile(tiles / "beach" / "ok.png", 1)
    try:
        (tiles / "beach" / "ok.png").rename(tiles / "beach" / os.fsdecode(b"\xff.png"))
    except OSError:
        pytest.skip("this file system only takes names in UTF-8")
    with pytest.raises(ArchiveError, match="has a name that is not valid UTF-8") as error:
        open_archive(f"folder:{tiles}")
    str(error.value).encode("utf-8")


def test_empty_and_missing_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ArchiveError, match=r"empty contains no usable JPEG, PNG, TIFF, WebP, JPEG 2000 or BMP image\.$"
    ):
        open_archive(f"folder:{tmp_path}/empty")
    (tmp_path / "empty" / "a.gif").write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"image\. Files of other kinds are ignored: 1 \.gif\.$"):
        open_archive(f"folder:{tmp_path}/empty")
    (tmp_path / "empty" / "a.jpg").write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"image\. Left out 1 images; each is empty"):
        open_archive(f"folder:{tmp_path}/empty", on_bad_image="skip")
    for location in ("", "/no/such/folder", f"{tmp_path}/empty/a.jpg"):
        with pytest.raises(ArchiveError, match=f"folder:{location} is not a folder on this machine"):
            open_archive(f"folder:{location}")
    with pytest.raises(ConfigError, match="no on_bad_image 'ask'; choose one of refuse, skip"):
        open_archive(f"folder:{tmp_path}", on_bad_image="ask")


def test_a_file_that_changes_or_vanishes_is_named_by_load(tiles):
    archive = open_archive(f"folder:{tiles}")
    save_tile(tiles / "beach" / "x,y.tif", 31)
    with pytest.raises(ArchiveError, match=r"x,y.tif has changed since the archive was opened; "):
        archive.load([0], image_size=4)
    (tiles / "beach" / "z.jpeg").unlink()
    with pytest.raises(ArchiveError, match=r"z.jpeg was readable .* now cannot be read .*; restore"):
        archive.load([1], image_size=4)
    assert archive.load([2, 3], image_size=4).shape == (2, 4, 4, 3)


@pytest.mark.parametrize("indices", [[4], [-1], [0.5], [[0]]])
def test_indices_outside_the_archive(tiles, indices):
    with pytest.raises(IndexError, match=r"index .* is outside|whole numbers in one dimension"):
        open_archive(f"folder:{tiles}").load(indices, image_size=4)


def test_nothing_is_written_and_a_locked_folder_serves(tiles):
    def state():
        paths = sorted((tiles, *tiles.rglob("*")))
        times = [(path, path.stat().st_mtime_ns, path.stat().st_mode) for path in paths]
        return times, [path.read_bytes() for path in paths if path.is_file()]

    folders = [tiles, *(path for path in tiles.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    before = state()
    try:
        archive = open_archive(f"folder:{tiles}")
        archive.load([0, 1, 2, 3], image_size=4)
        assert state() == before
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_uc_merced(ucm_dir, capsys):
    archive = open_archive(f"folder:{ucm_dir}")
    assert len(archive.ids) == 2100
    assert len(archive.class_names) == 21
    assert np.bincount(require_classes(archive)).tolist() == [100] * 21
    assert archive.notes == ()
    groups = duplicate_groups(archive.digests())
    twins = np.flatnonzero(np.isin(groups, np.flatnonzero(np.bincount(groups) > 1)))
    twin_names = [archive.ids[row] for row in twins]
    assert twin_names == ["airplane/airplane01.jpg", "airplane/airplane02.jpg"]
    for seed in range(20):
        split = split_images(2100, seed=seed, groups=groups)
        assert [part.size for part in split] == [1680, 210, 210]
        assert np.any([np.isin(twins, part).all() for part in split])
    smaller = archive.load([0, 2099], image_size=64)
    assert smaller.shape == (2, 64, 64, 3)
    assert smaller.std() > 10
    assert capsys.readouterr().out == ""
