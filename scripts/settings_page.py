"""Print docs/settings.md: every setting of a run and every flag of every app, from where they are declared.

python scripts/settings_page.py > docs/settings.md
"""

import importlib.util
import pathlib
import re
import sys
from collections.abc import Iterable

from absl import flags

from anneal_jax.cli.help import (
    Explained,
    explain_flag,
    explain_settings,
    flags_of,
)

_CODE = re.compile(r"(?<![`\w/])(--[\w-]+|launch/[\w./]+\w|\w+:[A-Z]+(?:/[A-Z]+)?)(?![`\w])")
LAUNCH = pathlib.Path(__file__).resolve().parent.parent / "launch"
HEAD = """# Settings and flags

`scripts/settings_page.py` prints this page from the declarations, and a test keeps it up to date. The
`--help` of each app shows the same; `--helpfull` adds the settings.

## Settings of a run

A recipe, a file in `launch/configs/`, is an `ExperimentConfig` with some of these changed. On the command
line each is given as `--config.NAME=VALUE` after `--config=RECIPE`; in `launch/compare.py` also as
`+NAME=VALUE` after a system. In the columns N is a whole number, X a number.
"""


def main() -> None:
    """Print the page."""
    settings = {
        name.replace("--config.", ""): text for name, text in _by_usage(explain_settings().values())
    }
    parts = [HEAD, _table("setting", settings)]
    sys.path.insert(0, str(LAUNCH))  # as Python does for a script
    for path in sorted(LAUNCH.glob("*.py")):
        doc, texts = _load(path)
        summary = doc.strip().partition("\n\n")[0].replace("\n", " ")
        parts += [f"\n## `launch/{path.name}`\n", f"{summary}\n", _table("flag", dict(_by_usage(texts)))]
    print("\n".join(parts))


def _load(path: pathlib.Path) -> tuple[str, list[Explained]]:
    """Return the docstring of an app and its flags, and forget these, for apps share names of flags."""
    name = f"launch_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    before = set(flags.FLAGS)
    spec.loader.exec_module(module)
    declaring = (name, *(module for module in sys.modules if module.startswith("anneal_jax.")))
    own = {flag.name: flag for place in declaring for flag in flags_of(place) if flag.name not in before}
    texts = [explain_flag(own[flag]) for flag in sorted(own)]
    for flag in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, flag)
    return module.__doc__ or "", texts


def _by_usage(texts: Iterable[Explained]) -> Iterable[tuple[str, Explained]]:
    return ((text.usage, text) for text in texts)


def _table(head: str, rows: dict[str, Explained]) -> str:
    lines = [f"| {head} | default | meaning |", "|---|---|---|"]
    for usage, text in rows.items():
        default = "required" if text.is_required else f"`{text.default}`" if text.default else ""
        lines.append(f"| `{_cell(usage)}` | {_cell(default)} | {_cell(_code(text.meaning))} |")
    return "\n".join(lines)


def _code(words: str) -> str:
    """Link pages, and mark flags, paths and placeholders as code, which Markdown would take for signs."""
    linked = re.sub(r"docs/([\w/]+\.md)", r"[docs/\1](\1)", words)
    return re.sub(_CODE, r"`\1`", linked)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
