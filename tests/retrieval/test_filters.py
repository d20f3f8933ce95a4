import numpy as np
import pytest

from anneal_jax.errors import ConfigError, RetrievalError
from anneal_jax.retrieval.filters import allowed_tiles, parse_filter
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.index_writer import append_tiles
from anneal_jax.retrieval.metadata import read_metadata
from anneal_jax.retrieval.search import search_exact
from tests.retrieval.small_index import CARD, Tiles, embed

TILES = Tiles(tuple(range(6)))
METADATA = """\
date,id,cloud,west,south,east,north,label
2021-01-31,tile 0000 é,0.1,5,50,6,51,
2021-06-30T12:00:00+02:00,tile 0001 é,,6,50,7,51,river
,tile 0002 é,,-10,-10,-9.5,-9.5,"sea, open"
2021-07-01,tile 0003 é,,,,,,
2021-07-01,another tile,,,,,,
"""


@pytest.fixture
def csv_file(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_text(METADATA, encoding="utf-8-sig")
    return path


@pytest.fixture
def index(tmp_path, csv_file):
    metadata = read_metadata(csv_file, TILES.ids)
    append_tiles(tmp_path / "index", TILES, embed, CARD, metadata=metadata.columns, shard_rows=4)
    return open_index(tmp_path / "index")


def rows_of(index, *texts):
    masks = allowed_tiles(index, parse_filter(*texts))
    return np.flatnonzero(np.concatenate(masks)).tolist()


def test_columns_are_joined_by_id(csv_file, index):
    metadata = read_metadata(csv_file, TILES.ids)
    assert (metadata.num_matched, metadata.num_others) == (4, 1)
    assert metadata.note == "1 rows of the metadata name tiles that are not in the archive."
    # A class that the file leaves open is the archive's own.
    assert index.labels(range(6)) == ["even", "river", "sea, open", "odd", "even", "odd"]
    assert index.take("date", [1, 2]).astype(str).tolist() == ["2021-06-30T10:00:00", "NaT"]
    np.testing.assert_array_equal(index.take("box", [0, 3]), [[5, 50, 6, 51], [np.nan] * 4])


@pytest.mark.parametrize(
    ("classes", "box", "since", "until", "rows"),
    [
        (["even"], None, None, None, [0, 4]),
        (["even", "sea, open"], None, None, None, [0, 2, 4]),
        ([], ["5.5", "50.5", "5.6", "50.6"], None, None, [0]),
        ([], ["6", "51", "9", "60"], None, None, [0, 1]),  # a common edge, a common corner
        ([], ["-20", "-20", "20", "60"], None, None, [0, 1, 2]),
        ([], None, "2021-06-30", None, [1, 3]),
        ([], None, "2021-06-30T10:00:01Z", None, [3]),
        ([], None, None, "2021-06-30", [0, 1]),
        ([], None, "2021-02-01", "2021-06-30T09:59:59", None),
        (["river"], ["-20", "-20", "20", "60"], "2021-01-01", "2021-12-31", [1]),
    ],
)
def test_conditions_hold_together_and_unknown_meets_none(index, classes, box, since, until, rows):
    if rows is None:
        with pytest.raises(RetrievalError, match="no tile of the index meets all the conditions"):
            rows_of(index, classes, box, since, until)
    else:
        assert rows_of(index, classes, box, since, until) == rows


def test_no_condition_is_no_mask(index):
    assert allowed_tiles(index, {}) is None


def test_a_search_returns_only_what_is_allowed(index):
    masks = allowed_tiles(index, {"label": ("even",)})
    hits = search_exact(index.column("vectors"), embed(TILES, [1]), 3, masks=masks)
    assert sorted(hits.rows[0].tolist()) == [-1, 0, 4]


@pytest.mark.parametrize(
    ("texts", "error", "sentence"),
    [
        (
            (["evn"], None, None, None),
            RetrievalError,
            r"no tile .* has the class 'evn' \(did you mean 'even'",
        ),
        (([], ["7", "50", "6", "51"], None, None), ConfigError, "bounds 7, 50, 6, 51 are not west <= east"),
        (([], ["7", "50", "6"], None, None), ConfigError, "boxes are west,south,east,north"),
        (([], None, "June", None), ConfigError, "dates 2021-06-30"),
    ],
)
def test_conditions_that_cannot_be_met_are_reported(index, texts, error, sentence):
    with pytest.raises(error, match=sentence):
        rows_of(index, *texts)


def test_an_index_without_the_column_says_how_to_get_it(tmp_path):
    append_tiles(tmp_path, Tiles((1, 2), with_labels=False), embed, CARD)
    for texts in [(["odd"], None, None, None), ([], ["0", "0", "1", "1"], None, None)]:
        with pytest.raises(
            RetrievalError, match=r"has no (label|box) of its tiles; write a new one with .* --metadata"
        ):
            rows_of(open_index(tmp_path), *texts)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,label\na,b\n", "must have a column id; found name, label"),
        ("", "must have a column id; found none"),
        ("id,colour\na,b\n", "has none of the columns label, date.* and west"),
        ("id,west,east\na,1,2\n", "gives bounds without south, north"),
        ("id,label\ntile 0001 é,a,b\n", "line 2: expected 2 fields"),
        ("id,label\ntile 0001 é\n", "line 2: expected 2 fields"),
        ("id,date\ntile 0001 é,30.6.2021\n", "line 2: Invalid isoformat string: '30.6.2021'"),
        (
            "id,west,south,east,north\ntile 0001 é,1,2,x,4\n",
            "line 2: could not convert string to float: 'x'",
        ),
        (
            "id,west,south,east,north\ntile 0001 é,3,2,1,4\n",
            "line 2: bounds 3, 2, 1, 4 are not west <= east",
        ),
        ("id,west,south,east,north\ntile 0001 é,1,2,nan,4\n", "line 2: bounds 1, 2, nan, 4 are not"),
        (
            "id,label\nother,b\n",
            "no row of .* names a tile of the archive; its ids look like 'tile 0000 é'",
        ),
    ],
)
def test_a_metadata_file_that_cannot_be_used_is_refused_with_its_line(tmp_path, text, sentence):
    path = tmp_path / "metadata.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RetrievalError, match=sentence):
        read_metadata(path, TILES.ids)


def test_a_missing_or_binary_metadata_file_is_refused(tmp_path):
    with pytest.raises(RetrievalError, match="cannot be read: No such file"):
        read_metadata(tmp_path / "none.csv", TILES.ids)
    (tmp_path / "binary.csv").write_bytes(b"id,label\n\xff\xfe\x00,b\n")
    with pytest.raises(RetrievalError, match=r"is not a CSV file in UTF-8"):
        read_metadata(tmp_path / "binary.csv", TILES.ids)
