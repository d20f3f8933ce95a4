"""What a message recommends can be done: every flag and option in it exists, and helps."""

import ast
import re

import numpy as np
import pytest

from anneal_jax.config import CHOICES, SETTING_TYPES
from anneal_jax.data.archives import open_archive
from anneal_jax.data.bands import GEOTIFF_OPTIONS
from anneal_jax.data.image_headers import FORMATS
from anneal_jax.data.labels import with_labels_csv
from anneal_jax.errors import ArchiveError, RetrievalError
from anneal_jax.retrieval.filters import allowed_tiles, parse_filter
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.index_writer import append_tiles
from anneal_jax.retrieval.metadata import read_metadata
from tests.conftest import ROOT
from tests.data.scene_files import write_scene
from tests.data.test_scene_facts import scene
from tests.data.test_tiles import encoded, photograph
from tests.retrieval.small_index import CARD, Tiles, embed

SOURCES = [
    path
    for path in [*(ROOT / "anneal_jax").rglob("*.py"), *(ROOT / "launch").glob("*.py")]
    if not path.stem.endswith("_css")  # --NAME is a variable there
]
OF_OTHER_PROGRAMS = {"data_dir", "file_format", "version"}  # of tfds build, python -m anneal_jax
OF_ABSL = {"help", "helpfull", "helpshort", "verbosity"}


def messages(path):
    """Yield the texts of a module that are no docstrings, with what is put into them as `{}`."""
    tree = ast.parse(path.read_text("utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def declared_flags():
    found = set()
    command = ROOT / "anneal_jax" / "annotation" / "web" / "command.py"
    for script in [*(ROOT / "launch").glob("*.py"), command]:
        found |= set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', script.read_text("utf-8")))
    return found


def test_every_flag_in_a_message_is_one_of_an_app():
    known = declared_flags() | {f"config.{name}" for name in SETTING_TYPES} | OF_ABSL | OF_OTHER_PROGRAMS
    named = {
        (path.name, flag.rstrip("."))
        for path in SOURCES
        for text in messages(path)
        for flag in re.findall(r"(?<![\w(-])--((?:config\.)?[a-z_]+)", text)
    }
    assert len(named) > 40  # the search finds what there is
    assert {(path, flag) for path, flag in named if flag not in known and flag != "config."} == set()


def test_every_option_in_a_message_about_scenes_exists():
    explained = {"range", "bands", "percentile"}  # by notes and refusals
    scan = " ".join(
        text
        for name in ("scene_scan", "scenes", "geotiff", "tiling")
        for text in messages(ROOT / "anneal_jax" / "data" / f"{name}.py")
    )
    named = set(re.findall(r"\b([a-z_]+)=(?![a-z ]+\b=)", scan)) - {"on_bad_image"}
    assert explained <= named <= set(GEOTIFF_OPTIONS) | {"?bands"}
    assert "skip" in CHOICES["on_bad_image"]


VALUES = np.random.default_rng(0).integers(1, 3000, (5, 8, 8)).astype(np.uint16)
FLAT = np.full((2, 8, 8), 7, np.uint16)


@pytest.mark.parametrize(
    ("values", "options", "advice"),
    [
        (VALUES, "", r"\?(bands=[\d,]+)"),
        (VALUES[:1], "", r"\?(bands=[\d,]+)"),
        (VALUES[:2], "&bands=2,3", r"\?(bands=[\d,]+)"),
        (VALUES[:3], "", r"(range=\S+)"),
        (np.concatenate([VALUES[:1], FLAT]), "", r"(range=\S+)"),
        (np.concatenate([VALUES[:1], FLAT]), "", r"(percentile=0,100)"),
        (VALUES[:3] + np.uint16(62_000), "", r"(range=\S+)"),
    ],
)
def test_options_that_a_message_recommends_are_taken(tmp_path, values, options, advice):
    path = write_scene(tmp_path / "s.tif", values)
    try:
        said = " ".join(open_archive(f"geotiff:{path}?tile=8{options}").notes)
    except ArchiveError as error:
        said = str(error)
    option = re.search(advice, said)[1]
    kept = "&".join(part for part in options.split("&") if not part.startswith(option.partition("=")[0]))
    assert len(open_archive(f"geotiff:{path}?tile=8{kept}&{option}").ids) == 1


def test_a_scene_without_a_whole_pixel_takes_the_range_that_is_asked_for(tmp_path):
    values = np.array([[[np.nan, 1.0]], [[2.0, np.nan]]], np.float32).repeat(8, 1).repeat(4, 2)
    path = write_scene(tmp_path / "s.tif", values)
    spec = f"geotiff:{path}?tile=8&bands=1,2&nodata=1"
    with pytest.raises(ArchiveError, match="give range=LOW,HIGH"):
        open_archive(spec)
    assert len(open_archive(f"{spec}&range=0,3").ids) == 1


def test_skip_leaves_out_what_is_refused(tmp_path):
    (tmp_path / "good.png").write_bytes(encoded(photograph(), "PNG"))
    (tmp_path / "bad.png").write_bytes(b"GIF89a")
    with pytest.raises(ArchiveError, match=r"set on_bad_image=skip"):
        open_archive(f"folder:{tmp_path}")
    assert open_archive(f"folder:{tmp_path}", on_bad_image="skip").ids == ("good.png",)
    scene(tmp_path / "s" / "good.tif")
    (tmp_path / "s" / "bad.tif").write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"set on_bad_image=skip"):
        open_archive(f"geotiff:{tmp_path / 's'}?tile=8")
    assert len(open_archive(f"geotiff:{tmp_path / 's'}?tile=8", on_bad_image="skip").ids) == 1


def test_the_formats_that_a_message_names_are_read():
    for kind in re.split(r", | or ", FORMATS):
        data = encoded(photograph(), kind.replace(" ", "").upper())
        from anneal_jax.data.tiles import decode_tile

        assert decode_tile(data).size == (40, 30)


def test_an_index_that_knows_too_little_is_written_anew_as_it_says(tmp_path):
    tiles = Tiles((1, 2), with_labels=False)
    append_tiles(tmp_path / "old", tiles, embed, CARD)
    wanted = parse_filter([], None, "2021-06-30", None)
    with pytest.raises(RetrievalError, match=r"write a new one with launch/embed\.py --metadata=FILE\.csv"):
        allowed_tiles(open_index(tmp_path / "old"), wanted)
    (tmp_path / "m.csv").write_text(f"id,date\n{tiles.ids[0]},2021-07-01\n", encoding="utf-8")
    metadata = read_metadata(tmp_path / "m.csv", tiles.ids).columns
    append_tiles(tmp_path / "new", tiles, embed, CARD, metadata=metadata)
    (mask,) = allowed_tiles(open_index(tmp_path / "new"), wanted)
    assert mask.tolist() == [True, False]


def test_a_table_is_read_once_it_is_as_the_message_says(tmp_path):
    (tmp_path / "t").mkdir()
    for folder in "ab":
        (tmp_path / "t" / folder).mkdir()
        (tmp_path / "t" / folder / "x.png").write_bytes(encoded(photograph(), "PNG"))
    archive = open_archive(f"folder:{tmp_path / 't'}")
    path = tmp_path / "l.csv"
    for refused, advice, taken in (
        ("id;label\na/x.png;river\n", "save it with commas", "id,label\na/x.png,river\n"),
        ("id,label\nx.png,river\n", "write the path", "id,label\na/x.png,river\n"),
        ("id,label\na/x.png,a,b\n", "quote a field", 'id,label\na/x.png,"a,b"\n'),
    ):
        path.write_text(refused)
        with pytest.raises(ArchiveError, match=advice):
            with_labels_csv(archive, path)
        path.write_text(taken)
        with_labels_csv(archive, path)
