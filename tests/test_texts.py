"""Text from outside, wherever it enters: not UTF-8, or different in form alone. And the project's own text.

What the project says to people is plain English: `TURNS` lists the turns of phrase that read as translated.
"""

import ast
import functools
import io
import pathlib
import re
import subprocess
import tokenize
import unicodedata
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anneal_jax.annotation.web.pictures import open_pictures
from anneal_jax.data.archives import open_archive
from anneal_jax.data.labels import encode_labels, with_labels_csv
from anneal_jax.errors import ArchiveError, RetrievalError
from anneal_jax.retrieval.filters import allowed_tiles, parse_filter
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.index_writer import append_tiles
from anneal_jax.retrieval.metadata import read_metadata
from anneal_jax.retrieval.queries import prepare_queries
from anneal_jax.text import Names, folded, forms_of, is_utf8
from tests.retrieval.small_index import CARD, Tiles, embed

COMPOSED, APART = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.fixture
def tiles(tmp_path):
    """Three tiles, one of a name as macOS writes it."""
    for name in (f"a/{APART}.png", "a/b.png", "c/d.png"):
        path = tmp_path / "tiles" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), len(name)).save(path)
    return open_archive(f"folder:{tmp_path / 'tiles'}")


@given(st.text(max_size=8))
def test_every_form_folds_to_one(text):
    if is_utf8(text):
        assert {folded(form) for form in forms_of(text)} == {folded(text)}


def test_a_name_is_what_it_says_before_what_it_may_mean():
    names = Names([COMPOSED, APART, " x "])
    assert names.find(COMPOSED) == [COMPOSED] and names.find(APART) == [APART]
    assert names.find(f"{APART} ") == [COMPOSED, APART] and names.find("x") == [" x "]


@pytest.mark.parametrize("name", [f"a/{COMPOSED}.png", f"{COMPOSED}.png", f" a/{APART}.png "])
def test_files_beside_an_archive_find_a_tile_by_one_rule(tiles, tmp_path, name):
    (tmp_path / "l.csv").write_text(f"id,label\n{name},river\n", encoding="utf-8")
    labelled = with_labels_csv(tiles, tmp_path / "l.csv")
    assert labelled.class_names[labelled.labels[tiles.ids.index(f"a/{APART}.png")]] == "river"
    found = read_metadata(tmp_path / "l.csv", tiles.ids)
    assert found.columns["label"][tiles.ids.index(f"a/{APART}.png")] == b"river"
    assert (found.num_matched, found.num_others) == (1, 0)


def test_what_a_name_may_not_mean_is_refused_by_one_rule(tiles, tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "tiles" / "c" / "b.png")
    archive = open_archive(tiles.spec)
    (tmp_path / "l.csv").write_text("id,label\nb.png,river\n")
    for read in (with_labels_csv, lambda archive, path: read_metadata(path, archive.ids)):
        with pytest.raises((ArchiveError, RetrievalError), match=r"'b.png' may be 'a/b.png' or 'c/b.png'"):
            read(archive, tmp_path / "l.csv")
    (tmp_path / "l.csv").write_text("id,label\na/b.png,river\na/b.png,lake\n")
    with pytest.raises(
        RetrievalError, match=r"line 3: 'a/b.png' has another label here than above; keep one"
    ):
        read_metadata(tmp_path / "l.csv", archive.ids)


def test_classes_that_differ_by_form_alone_are_one():
    labels, names = encode_labels([COMPOSED, f"{APART} ", APART, "river", None])
    assert labels.tolist() == [0, 0, 0, 1, -1] and names == (min(f"{APART} ", APART), "river")
    same = encode_labels(["b", "a", " c"])  # where none does, all is as it was
    assert same[0].tolist() == [2, 1, 0] and same[1] == (" c", "a", "b")


def test_an_index_is_asked_in_any_form(tmp_path):
    append_tiles(tmp_path, Tiles((1, 2)), embed, CARD)
    index = open_index(tmp_path)
    wanted = unicodedata.normalize("NFD", "tile 0002 é")
    assert index.rows_of([wanted, "tile 0001 é ", "tile 0001 e"]).tolist() == [1, 0, -1]
    assert [mask.tolist() for mask in allowed_tiles(index, parse_filter(["odd "], None, None, None))] == [
        [True, False]
    ]
    with pytest.raises(RetrievalError, match=r"the query 'caf\\udce9' is not valid UTF-8; rename it"):
        prepare_queries(index, ["caf\udce9"])


def test_pictures_of_vectors_are_found_in_any_form(tiles, tmp_path):
    ids = np.array([f"a/{COMPOSED}.png", "c/d.png"])
    np.savez(tmp_path / "v.npz", embeddings=np.eye(2, dtype=np.float32), ids=ids)
    pictures = open_pictures(open_archive(f"embeddings:{tmp_path / 'v.npz'}"), tiles.spec)
    assert len(pictures) == 2
    pictures.close()


@pytest.mark.parametrize("key", ["ids", "labels"])
@pytest.mark.parametrize("texts", [np.array(["a\udce9", "b"]), np.array([b"a\xe9", b"b"])])
def test_texts_of_vectors_are_utf8(tmp_path, key, texts):
    np.savez(tmp_path / "v.npz", embeddings=np.eye(2, dtype=np.float32), **{key: texts})
    with pytest.raises(ArchiveError, match=rf"row 0 of {key}, 'a\\udce9' is not valid UTF-8") as error:
        open_archive(f"embeddings:{tmp_path / 'v.npz'}")
    str(error.value).encode()


def test_a_spec_outside_utf8_is_refused():
    with pytest.raises(ArchiveError, match=r"the archive 'folder:/caf.udce9' is not valid UTF-8"):
        open_archive("folder:/caf\udce9")


# Turn -> what to write instead. A space stands for any white space, so a turn may cross a line.
TURNS = {
    r"(is|are|be|was|were) told": "is reported, is called, is shown",
    r"tells?( (that|how|what|which|whether|where|of|apart))?": "reports, says, shows, returns",
    r"said so|says so itself": "reported",
    r"hears?|heard": "receives, learns",
    r"(go|goes|going|gone|went) on( with)?": "continues",
    r"stands? (in|at|behind|where|there|beside|below|above|before)": "is in, is at, is below",
    r"(for|what|all) (that|which|it) stands?": "which is",
    r"let go of": "drops, removes",
    r"take[sn]? up (?!to)": "loads, starts from",
    r"(put|puts) again": "asks again",
    r"beside (it|them|its|the|a|an|this|that|each|others?)": "next to, besides, and",
    r"behind (it|them|its|the|each|all|which|those)": "after",
    r"anew": "again",
    r"in place of": "instead of",
    r"at hand": "available",
    r"by now": "now, already",
    r"any more": "no longer",
    r"(has|have) not (the|a|an|that|enough|so)": "does not have",
    r"(made|created) where": "created if missing",
    r"(?<!there\s)(is|are) no (?!longer|more|worse|better|less|different|fewer|larger|further)": "is not a",
    r"(None|NaN|NaT|nan|empty|False|-1|fewer|nothing|none|\d|\"\") where": "if",
    r", where (it|they|there|none|no|nothing|nobody|somebody|one) (is|are|was|has|have|can)": "if",
    r"where (there (is|are)|none (is|was|has)|nothing (is|was)|nobody|it is absent|absent)": "if",
    r"(is|are|was) there already": "already exists",
    r"brings? (it|what|them|both)": "install it with",
    r"from which on": "the minimum, from ... on",
    r"whomever": "whoever",
    r"be it (by|in|through|of)": "whether, even if",
    r"(passes|passed) over (?!the)": "skips",
    r"(hold|holds|held) [\w\s]{0,30}against": "checks against, compares with",
    r"hangs? (on|together)": "depends on, is connected",
    r"(come|came|comes) to (its|their|an?|the) end": "finishes",
    r"as it was when": "unchanged since",
    r"of it (is|are|was) ": "a name for the part",
    r"also (those|when|where|if|after|an?|in) ": "including, even",
}
# Turns that are meant as they are, by file.
MEANT = {("anneal_jax/reporting/comparison_claims.py", "be told")}  # the verdict in published results
ROOT = pathlib.Path(__file__).parents[1]
# The pages under docs/lab are notebooks of measurements, outside the site's navigation.
READ = ("anneal_jax", "launch", "scripts", "benchmarks", "README.md", "CHANGELOG.md", "docs", ":!docs/lab")


@functools.cache
def turns() -> list[tuple[re.Pattern[str], str]]:
    """Return what to look for, and what to write instead."""
    spaced = {turn.replace(" ", r"\s+"): better for turn, better in TURNS.items()}
    return [(re.compile(rf"(?<![\w-])({turn})(?![\w-])"), better) for turn, better in spaced.items()]


def strings_of(source: str) -> Iterator[tuple[int, str]]:
    """Yield the first line of each string in Python code, and the string."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def comments_of(source: str) -> Iterator[tuple[int, str]]:
    """Yield the first line of each comment in Python code, and all of its lines."""
    lines: list[str] = []
    first = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if lines and token.start[0] != first + len(lines):
                yield first, "\n".join(lines)
                lines = []
            first = first if lines else token.start[0]
            lines.append(token.string.lstrip("# "))
    if lines:
        yield first, "\n".join(lines)


def texts_of(name: str, source: str) -> Iterator[tuple[int, str]]:
    """Yield the first line of each text for people in a file, and the text."""
    if name.endswith(".py"):
        yield from strings_of(source)
        yield from comments_of(source)
    elif name.endswith(".js"):
        for match in re.finditer(r"//.*|/\*.*?\*/|\"[^\"\n]* [^\"\n]*\"|`[^`]* [^`]*`", source):
            yield 1 + source.count("\n", 0, match.start()), match[0].replace("`", "")
    elif name.endswith(".md"):
        code = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
        yield 1, code.sub(lambda block: "\n" * block[0].count("\n"), source)
    else:
        yield 1, source


def findings(name: str, source: str) -> list[str]:
    """Return a sentence for each turn in a file; code in backticks and doctests are left out."""
    found = []
    for first, text in texts_of(name, source):
        prose = re.sub(r"^\s*(>>>|\.\.\.).*$|`[^`\n]*`", "", text, flags=re.MULTILINE)
        for pattern, better in turns():
            for match in pattern.finditer(prose):
                line, turn = first + prose.count("\n", 0, match.start()), " ".join(match[0].split())
                if (name, turn) not in MEANT:
                    found.append(f"{name}:{line}: {turn!r}; write: {better}")
    return found


PLANTED = [
    (
        "a.py",
        'x = 1\n\n\ndef f():\n    """Return x.\n\n    None where\n    there is none.\n    """\n',
        7,
        "None where",
    ),
    ("a.py", "x = 1  # the run goes\n# on after a kill\n", 1, "goes on"),
    ("a.py", 'raise ValueError(f"{x} is told " "again")\n', 1, "is told"),
    ("a.js", "go();\nconst text = `Nothing at hand.`; // anew\n", 2, "at hand"),
    ("a.html", "<p>What was\nsaid so</p>\n", 2, "said so"),
    ("a.md", "Text.\n\n```\ngoes on\n```\n\nIt stands\nin the table.\n", 7, "stands in"),
]


@pytest.mark.parametrize(("name", "source", "line", "turn"), PLANTED)
def test_a_planted_turn_is_found_where_it_is(name, source, line, turn):
    found = findings(name, source)
    assert any(sentence.startswith(f"{name}:{line}: {turn!r}; write: ") for sentence in found), found


def test_code_and_plain_sentences_are_left_alone():
    source = '"""There is no such tile; the run continues.\n\n>>> beside(the, other)\n"""\n'
    assert findings("a.py", f"from beside import the\n{source}") == []
    assert findings("a.md", "Call `goes on`.\n") == []


def test_the_project_says_it_in_plain_english():
    listed = subprocess.run(
        ["git", "ls-files", "--", *READ], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = [name for name in listed.stdout.split() if name.endswith((".py", ".js", ".html", ".md"))]
    found = [line for name in names for line in findings(name, (ROOT / name).read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)
