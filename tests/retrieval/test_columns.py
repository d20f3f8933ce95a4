"""What the table of columns promises of each. A new column is tested here by standing in the table."""

import numpy as np
import pytest

from anneal_jax.errors import ConfigError
from anneal_jax.exporting.parquet import write_parquet
from anneal_jax.retrieval.columns import COLUMNS
from anneal_jax.retrieval.filters import allowed_tiles
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.index_writer import append_tiles
from anneal_jax.retrieval.metadata import read_metadata
from tests.retrieval.small_index import CARD, Tiles, embed

TILES = Tiles(tuple(range(6)), with_labels=False)
TEXTS = {"S": ["river", "sea, ö"], "M": ["2021-06-30", "1969-12-31T23:00:00Z"], "f": ["0.25", "-7"]}

every_column = pytest.mark.parametrize("column", COLUMNS.values(), ids=list(COLUMNS))
every_column_from_a_file = pytest.mark.parametrize(
    "column", [c for c in COLUMNS.values() if c.fields], ids=lambda column: column.name
)


def texts_of(column):
    """Two values as a file gives them; several fields hold one number, so that bounds are a point."""
    return [[text] * len(column.fields) for text in TEXTS[np.dtype(column.dtypes[0]).kind]]


def open_with(column, folder):
    """An index in which tiles 0 and 2 have a value, 1 an empty field, 3 no row, and 4, 5 no such file."""
    first, second = texts_of(column)
    lines = [["tile 0000 é", *first], ["tile 0001 é", *[""] * len(first)], ["tile 0002 é", *second]]
    quoted = [",".join(f'"{text}"' for text in line) for line in [["id", *column.fields], *lines]]
    path = folder / "metadata.csv"
    path.write_text("\n".join(quoted), encoding="utf-8")
    known = Tiles(TILES.numbers[:4], with_labels=False)
    metadata = read_metadata(path, known.ids).columns
    append_tiles(folder / "index", known, embed, CARD, metadata=metadata, shard_rows=3)
    append_tiles(folder / "index", TILES, embed, CARD)
    return open_index(folder / "index")


@every_column
def test_a_row_of_the_table_agrees_with_itself(column):
    assert column.doc and {np.dtype(dtype).name for dtype in column.dtypes}
    assert bool(column.fields) <= (column.blank is not None)  # a file need not name every tile
    assert bool(column.filter) <= (column.blank is not None)
    if column.blank is not None:
        blanks = column.blanks(3)
        assert blanks.shape == (3, *column.shape)
        assert np.issubdtype(blanks.dtype, np.dtype(column.dtypes[0]).type)


def test_no_field_gives_two_columns():
    fields = [field for column in COLUMNS.values() for field in column.fields]
    assert len(set(fields)) == len(fields) and "id" not in fields


def test_every_shard_has_the_columns_that_are_never_blank_and_those_alone(tmp_path):
    append_tiles(tmp_path, TILES, embed, CARD, shard_rows=4)
    index = open_index(tmp_path)
    needed = {column.name for column in COLUMNS.values() if column.blank is None}
    assert [set(record.files) for record in index.shards] == [needed, needed]
    for name in needed:
        column, stored = COLUMNS[name], index.take(name, range(6))
        assert any(np.issubdtype(stored.dtype, np.dtype(dtype).type) for dtype in column.dtypes)
        assert stored.shape == (6, *(CARD.dim if size == "D" else size for size in column.shape))


@every_column_from_a_file
def test_a_value_comes_back_as_parsed_and_is_blank_where_nothing_is_known(column, tmp_path):
    stored = open_with(column, tmp_path).take(column.name, range(6))
    first, second = map(column.parse, texts_of(column))
    expected = [first, column.blank, second, column.blank, column.blank, column.blank]
    assert np.issubdtype(stored.dtype, np.dtype(column.dtypes[0]).type)
    np.testing.assert_array_equal(stored, np.array(expected, stored.dtype))


@pytest.mark.parametrize(
    "column", [c for c in COLUMNS.values() if c.filter], ids=lambda column: column.name
)
def test_a_search_may_ask_what_the_table_says(column, tmp_path):
    index = open_with(column, tmp_path)
    for row, texts in zip((0, 2), texts_of(column), strict=True):
        value = column.parse(texts)
        wanted = {"one of": texts, "touches": value, "between": (value, value)}[column.filter]
        masks = allowed_tiles(index, {column.name: wanted})
        assert np.flatnonzero(np.concatenate(masks)).tolist() == [row]


@pytest.mark.parametrize("name", [*(c.name for c in COLUMNS.values() if not c.filter), "dates"])
def test_a_condition_on_what_takes_none_is_refused(name, tmp_path):
    append_tiles(tmp_path, TILES, embed, CARD)
    with pytest.raises(ConfigError, match=f"there is no condition '{name}'"):
        allowed_tiles(open_index(tmp_path), {name: None})


@every_column_from_a_file
def test_parquet_has_its_fields_with_null_where_nothing_is_known(column, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    write_parquet(open_with(column, tmp_path), tmp_path / "index.parquet")
    table = parquet.read_table(tmp_path / "index.parquet")
    geometry = ["geometry"] if column.name == "box" else []
    assert table.column_names == ["id", "embedding", *column.fields, *geometry]
    for field in column.fields:
        assert [value is None for value in table[field].to_pylist()] == [
            row not in (0, 2) for row in range(6)
        ]
