"""The labels file: given, overriding, and each of its faults in the words that a person sees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anneal_jax.data.archives import open_archive, require_classes
from anneal_jax.data.labels import encode_labels
from anneal_jax.errors import ArchiveError


@pytest.fixture
def tiles(tmp_path):
    root = tmp_path / "tiles"
    for name in ("flat.png", "one/a b.png", "one/twin.png", "two/c,d.png", "two/twin.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(root / name)
    return root


@pytest.fixture
def labelled(tiles, tmp_path):
    """Open the tiles with the text of a labels file."""

    def opened(text, **options):
        (tmp_path / "labels.csv").write_bytes(text.encode())
        return open_archive(f"folder:{tiles}", labels_csv=tmp_path / "labels.csv", **options)

    return opened


def names_of(archive):
    return [None if label < 0 else archive.class_names[label] for label in archive.labels]


def test_overrides_by_path_or_unique_file_name_and_keeps_the_rest(labelled, tmp_path):
    archive = labelled('id,label\nflat.png,sea\na b.png,"lake, small"\ntwo/twin.png,\n')
    assert archive.ids == ("flat.png", "one/a b.png", "one/twin.png", "two/c,d.png", "two/twin.png")
    assert names_of(archive) == ["sea", "lake, small", "one", "two", None]
    assert archive.notes[-1] == (
        f"2 of 5 tiles are not in {tmp_path}/labels.csv and keep the label they had, if any."
    )


def test_complete_file_from_a_spreadsheet(labelled):
    text = "\ufefflabel,id,remark\r\n1,flat.png,x\r\n2,one/a b.png,\r\n10,one/twin.png,\r\n"
    archive = labelled(text + '2,"two/c,d.png",\r\n\r\n1,two/twin.png,\r\n')
    assert archive.class_names == ("1", "2", "10")
    assert require_classes(archive).tolist() == [0, 1, 2, 1, 0]
    assert not any("keep the label" in note for note in archive.notes)


def test_a_tile_that_was_left_out_may_be_named(labelled, tiles):
    (tiles / "one" / "a b.png").write_bytes(b"")
    archive = labelled("id,label\na b.png,sea\nflat.png,sea\n", on_bad_image="skip")
    assert names_of(archive)[0] == "sea"
    assert "one/a b.png" not in archive.ids


def test_vectorless_ids_work_for_digits(tmp_path):
    (tmp_path / "labels.csv").write_text("id,label\ndigits0000,zero\n")
    archive = open_archive("digits", labels_csv=str(tmp_path / "labels.csv"))
    assert archive.class_names[archive.labels[0]] == "zero"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with the line id,label; found nothing"),
        (
            "id;label\nflat.png;sea\n",
            "the line id;label: its fields are separated by semicolons; save it with commas",
        ),
        ("name,class\n", "found name, class"),
        ("id,label\nflat.pgn,sea\n", "1 id that is not in the archive, first 'flat.pgn'; the near"),
        ("id,label\nx,1\ny,2\n", "2 ids that are not in the archive, first 'x'"),
        ("id,label\ntwin.png,sea\n", "may be 'one/twin.png' or 'two/twin.png'; write the path"),
        ("id,label\nflat.png,a\nflat.png,b\n", "line 3: 'flat.png' is labelled 'b' here and 'a'"),
        ("id,label\na b.png,a\none/a b.png,b\n", "gives 'one/a b.png' two labels; keep one"),
        ("id,label\nc,d.png,sea\n", "line 2: expected 2 fields .* quote a field"),
        ("id,label\nflat.png\n", "line 2: expected 2 fields"),
        ("id,label\n,sea\n", "line 2: expected 2 fields with an id among them"),
        ("id,label,label\nflat.png,a,b\n", "has two columns 'label'; keep one"),
        ('id,label\n"flat.png,sea\n', "is not a CSV file in UTF-8"),
    ],
)
def test_faults(labelled, text, message):
    with pytest.raises(ArchiveError, match=message):
        labelled(text)


def test_missing_or_binary_file(tiles, tmp_path):
    with pytest.raises(ArchiveError, match=r"absent.csv cannot be read: No such file"):
        open_archive(f"folder:{tiles}", labels_csv=tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"id,label\n\xff\xfe,a\n")
    with pytest.raises(ArchiveError, match=r"binary.csv is not a CSV file in UTF-8"):
        open_archive(f"folder:{tiles}", labels_csv=tmp_path / "binary.csv")


@given(st.lists(st.one_of(st.none(), st.text(min_size=1, max_size=3)), max_size=20))
def test_numbering_can_be_undone(names):
    labels, class_names = encode_labels(names)
    if labels is None:
        assert set(names) <= {None}
        return
    assert [None if label < 0 else class_names[label] for label in labels] == names
    assert len(set(class_names)) == len(class_names)
