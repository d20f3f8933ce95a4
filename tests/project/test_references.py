"""Every source that the code or a page names by key is in docs/references.md, and no other does."""

import re

from tests.conftest import ROOT

KEY = re.compile(r"\b[a-z]+(?:19|20)\d\d[a-z][a-z0-9]*\b")


def cited_keys():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "anneal_jax").rglob("*.py")]
    texts = [path.read_text(encoding="utf-8") for path in pages if path.name != "references.md"]
    return {key for text in texts for key in KEY.findall(text)}


def listed_keys():
    text = (ROOT / "docs" / "references.md").read_text(encoding="utf-8")
    return re.findall(r"^- `([^`]+)`: ", text, flags=re.MULTILINE)


def test_the_keys_cited_are_those_that_are_listed():
    assert cited_keys() == set(listed_keys())


def test_every_key_is_listed_once_and_in_one_form():
    listed = listed_keys()
    assert len(listed) == len(set(listed))
    assert [key for key in listed if not KEY.fullmatch(key)] == []
