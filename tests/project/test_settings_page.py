"""docs/settings.md names every setting and every flag once, and says what is declared."""

import re
import subprocess
import sys

import pytest

from anneal_jax.config import SETTING_TYPES
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
APPS = sorted((ROOT / "launch").glob("*.py"))


def rows_of(heading):
    """Return the names in the first column under a heading, without values."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(?:--)?(?:\[no\])?(\w+)", section, re.MULTILINE)


def test_every_setting_stands_there_once():
    assert rows_of("Settings of a run") == list(SETTING_TYPES)


@pytest.mark.parametrize("path", APPS, ids=lambda path: path.name)
def test_every_flag_of_an_app_stands_there_once(path):
    declared = re.findall(r'DEFINE_\w+\(\s*"(\w+)"', path.read_text(encoding="utf-8"))
    assert declared and rows_of(f"`launch/{path.name}`") == sorted(declared)


def test_no_meaning_is_empty():
    rows = [line.replace("\\|", "") for line in PAGE.splitlines() if line.startswith("| `")]
    assert len(rows) > len(SETTING_TYPES)
    assert [row for row in rows if len(row.split("|")[3].split()) < 2] == []


def test_the_page_says_what_is_declared():
    done = subprocess.run(
        [sys.executable, "scripts/settings_page.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == PAGE, "run: python scripts/settings_page.py > docs/settings.md"
