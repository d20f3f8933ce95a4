import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from anneal_jax.reporting import style
from anneal_jax.reporting.gallery import plot_gallery

# Where the first row of tiles of 192 pixels begins, and the left edges of query and neighbours.
TOP, SIDE = 24 + 52 + 38, 192
LEFTS = [24, *(24 + SIDE + 40 + rank * (SIDE + 12) for rank in range(5))]


def _tiles(num, side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (num, side, side, 3), dtype=np.uint8)


def _read(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _cell(picture, column):
    return picture[TOP : TOP + SIDE, LEFTS[column] : LEFTS[column] + SIDE]


def _rgb(colour):
    return np.round(255 * np.array(to_rgb(colour))).astype(int)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gallery.png"


def test_small_tiles_are_enlarged_without_smoothing(path):
    tiles = _tiles(6, 8)
    plot_gallery(tiles[:1], tiles[None, 1:], None, ["digit"], path)
    for column, tile in enumerate(tiles):
        expected = tile.repeat(24, axis=0).repeat(24, axis=1)
        np.testing.assert_array_equal(_cell(_read(path), column), expected)


def test_tiles_of_192_pixels_are_drawn_as_they_are(path):
    tiles = _tiles(2, 192)
    plot_gallery(tiles[:1], tiles[None, 1:], None, ["tile"], path)
    np.testing.assert_array_equal(_cell(_read(path), 1), tiles[1])


@pytest.mark.parametrize("side", [1, 28, 97, 256])
def test_the_mean_colour_survives_any_size(path, side):
    tile = np.full((1, side, side, 3), (200, 60, 20), np.uint8)
    plot_gallery(tile, tile[None], None, ["tile"], path)
    picture = _read(path)
    np.testing.assert_array_equal(picture[TOP + 90, LEFTS[0] + 90], (200, 60, 20))
    assert 400 < picture.shape[1] < 700


def test_right_and_wrong_differ_by_colour_and_by_sign(path):
    tiles = np.zeros((6, 8, 8, 3), np.uint8)
    relevant = np.array([[True, False, True, True, False]])
    plot_gallery(tiles[:1], tiles[None, 1:], relevant, ["digit"], path)
    picture = _read(path).astype(int)
    for column, right in enumerate(relevant[0], start=1):
        colour = _rgb(style.RIGHT if right else style.WRONG)
        np.testing.assert_array_equal(_cell(picture, column)[3, 90], colour)
    white = [(_cell(picture, column) > 250).all(axis=-1) for column in range(6)]
    assert not white[0].any()  # the query bears no mark
    np.testing.assert_array_equal(white[1], white[3])
    np.testing.assert_array_equal(white[2], white[5])
    assert (white[1] != white[2]).sum() > 50


def test_each_row_has_its_caption_and_its_tally(path, saved):
    tiles = _tiles(12, 8).reshape(2, 6, 8, 8, 3)
    relevant = np.array([[1, 1, 0, 1, 1], [0, 0, 0, 0, 0]], bool)
    captions = ["$x^2$ 名\n", "very/long/" + "n" * 200]
    plot_gallery(tiles[:, 0], tiles[:, 1:], relevant, captions, path)
    texts = {text.get_text(): text.get_window_extent() for text in saved[0].texts}
    assert list(texts)[:2] == ["query", "nearest first"]
    assert {"$x^2$ □ ", "4 of 5 right", "0 of 5 right"} <= set(texts)
    boxes = list(texts.values())
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(box.x0 >= 0 and box.x1 <= saved[0].bbox.width for box in boxes)


def test_real_tiles_make_a_sharp_picture(path, ucm_dir):
    names = sorted(ucm_dir.glob("*/*"))[:6]
    tiles = np.stack([np.asarray(Image.open(name).convert("RGB").resize((256, 256))) for name in names])
    plot_gallery(tiles[:1], tiles[None, 1:], np.ones((1, 5), bool), [names[0].name], path)
    small = np.asarray(Image.fromarray(tiles[0]).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    difference = _cell(_read(path), 0).astype(float) - small
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize(
    ("queries", "neighbours", "relevant", "captions", "message"),
    [
        ((0, 8, 8, 3), (0, 5, 8, 8, 3), None, 0, "query_tiles has shape"),
        ((1, 8, 8), (1, 5, 8, 8, 3), None, 1, "query_tiles has shape"),
        ((1, 8, 8, 13), (1, 5, 8, 8, 13), None, 1, "query_tiles has shape"),
        ((1, 8, 8, 3), (1, 0, 8, 8, 3), None, 1, "neighbour_tiles has shape"),
        ((1, 8, 8, 3), (2, 5, 8, 8, 3), None, 1, "neighbour_tiles has shape"),
        ((1, 8, 8, 3), (1, 5, 9, 8, 3), None, 1, "neighbour_tiles has shape"),
        ((1, 8, 8, 3), (1,), None, 1, "neighbour_tiles has shape"),
        ((1, 8, 8, 3), (1, 5, 8, 8, 3), (1, 4), 1, "relevant has shape"),
        ((1, 8, 8, 3), (1, 5, 8, 8, 3), None, 2, "2 captions for 1 queries"),
    ],
)
def test_shapes_that_do_not_fit_are_named(path, queries, neighbours, relevant, captions, message):
    marks = None if relevant is None else np.zeros(relevant, bool)
    with pytest.raises(ValueError, match=message):
        plot_gallery(
            np.zeros(queries, np.uint8),
            np.zeros(neighbours, np.uint8),
            marks,
            ["x"] * captions,
            path,
        )
    assert not path.exists()
