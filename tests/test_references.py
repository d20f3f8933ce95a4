"""Every source that the code names by key stands in docs/references.md."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEY = re.compile(r"\b[a-z]+(?:19|20)\d\d[a-z][a-z0-9]*\b")


def cited_keys():
    texts = (path.read_text(encoding="utf-8") for path in sorted((ROOT / "anneal_jax").rglob("*.py")))
    return {key for text in texts for key in KEY.findall(text)}


def listed_keys():
    text = (ROOT / "docs" / "references.md").read_text(encoding="utf-8")
    return re.findall(r"^- `([^`]+)`: ", text, flags=re.MULTILINE)


def test_every_key_cited_is_listed():
    cited = cited_keys()
    assert len(cited) > 5
    assert cited - set(listed_keys()) == set()


def test_every_key_is_listed_once_and_in_one_form():
    listed = listed_keys()
    assert len(listed) == len(set(listed))
    assert [key for key in listed if not KEY.fullmatch(key)] == []
