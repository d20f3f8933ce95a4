"""The table of scripts/mutation.py: every module has its tests, or a reason why it is left out."""

import ast

from tests.conftest import ROOT


def tables():
    """Read the tables without the script's imports, which only `make soak` installs."""
    body = ast.parse((ROOT / "scripts" / "mutation.py").read_text("utf-8")).body
    found = {node.targets[0].id: node.value for node in body if isinstance(node, ast.Assign)}
    return ast.literal_eval(found["TESTS"]), ast.literal_eval(found["LEFT_OUT"])


def test_every_module_is_looked_at_or_left_out_with_a_reason():
    tests, left_out = tables()
    package = ROOT / "anneal_jax"
    paths = [
        package / "evaluation" / "metrics.py",
        *(path for name in ("pairs", "answers", "acquisition") for path in (package / name).rglob("*.py")),
    ]
    modules = [
        path.relative_to(package).with_suffix("").as_posix() for path in paths if path.stat().st_size
    ]
    assert sorted([*tests, *left_out]) == sorted(modules)
    assert all(left_out.values())


def test_the_tests_of_each_are_there():
    for name, tests in tables()[0].items():
        for test in tests.split():
            assert ((ROOT / "tests" / name).parent / f"{test}.py").is_file()
