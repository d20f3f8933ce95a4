"""The `--help` of a launch script, in 80 columns; docs/settings.md has the same text for each flag."""

import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable
from typing import Any

from absl import flags

from anneal_jax.config import CHOICES, RANGES, SETTING_TYPES, ExperimentConfig

WIDTH = 80
"""Columns of a standard terminal."""

SHORT_FLAGS = ("-h", "-?", "-help", "--help", "-helpshort", "--helpshort")
FULL_FLAGS = ("-helpfull", "--helpfull")

# absl adds these to the help of a flag with choices, or of one that may be repeated.
_OF_ABSL = re.compile(r"^<[^>]*>: |; ?repeat this option to specify a list of values$")

_SETTING_VALUES = {bool: "true|false", int: "N", float: "X", str: "TEXT"}
_FLAG_VALUES = {
    "int": "N",
    "float": "X",
    "config object": "FILE",
    "comma separated list of strings": "A,B",
}


@dataclasses.dataclass(frozen=True)
class Explained:
    """The description of a flag or a setting.

    Attributes:
      usage: how to write it, such as `--seeds=N`.
      meaning: its description.
      default: its default value; empty if it has none.
      is_required: whether the command needs it.
    """

    usage: str
    meaning: str
    default: str = ""
    is_required: bool = False


def explain_flag(flag: flags.Flag) -> Explained:
    """Describe how to write a flag, what it means and its default."""
    required = flag.default is None and any(not check.checker(None) for check in flag.validators)
    default = "" if flag.default in (None, "", []) else _text_of(flag.default)
    words = re.sub(_OF_ABSL, "", " ".join((flag.help or "").split()))
    return Explained(_flag_usage(flag), words, default, required)


def explain_settings() -> dict[str, Explained]:
    """Return the docstring's text for every setting of a run, with its choices or range and its default.

    >>> explain_settings()["rounds"].default
    '6'
    """
    fields = {field.name: field.default for field in dataclasses.fields(ExperimentConfig)}
    return {
        name: Explained(
            f"--config.{name}={_SETTING_VALUES[SETTING_TYPES[name]]}",
            words[0].upper() + words[1:] + _allowed(name, words),
            _text_of(fields[name]),
        )
        for name, words in _documented_settings().items()
    }


def flags_of(module: str) -> list[flags.Flag]:
    """Return the flags that a module declares, sorted by name; `sys.argv[0]` names the script itself."""
    return sorted(flags.FLAGS.get_flags_for_module(module), key=lambda flag: flag.name)


def help_text(module: str, *, full: bool) -> str:
    """Return the docstring of an app's module and its flags; with `full` also every setting of a recipe."""
    own = flags_of(sys.argv[0] if module == "__main__" else module)
    parts = [_wrap_doc(sys.modules[module].__doc__ or ""), "Flags:", *map(_entry, map(explain_flag, own))]
    if any(flag.name == "config" for flag in own):
        if full:
            parts += ["Settings of the recipe:", *map(_entry, explain_settings().values())]
        else:
            parts.append(
                _wrap("--config.NAME=VALUE changes a setting of the recipe; --helpfull lists them all.")
            )
    return "\n\n".join(parts)


def wanted_help(argv: Iterable[str]) -> str:
    """Return "short", "full", or "" if no help was requested."""
    given = set(argv)
    if given & set(FULL_FLAGS):
        return "full"
    return "short" if given & set(SHORT_FLAGS) else ""


def _documented_settings() -> dict[str, str]:
    text = (inspect.getdoc(ExperimentConfig) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^  (\w+): (\S.*?)(?=^  \w|\Z)", text, re.MULTILINE | re.DOTALL)
    return {name: " ".join(words.split()) for name, words in found}


def _flag_usage(flag: flags.Flag) -> str:
    if flag.boolean:
        return f"--[no]{flag.name}"
    choices = getattr(flag.parser, "enum_values", None)
    value = "|".join(choices) if choices else _FLAG_VALUES.get(flag.flag_type(), "TEXT")
    return f"--{flag.name}={value}"


def _allowed(name: str, words: str) -> str:
    """Return the range of a setting, or its choices if the docstring does not list them."""
    if name in RANGES:
        low, high = RANGES[name]
        return f" {low:,} to {high:,}."
    unnamed = [choice for choice in CHOICES.get(name, ()) if f"`{choice}`" not in words]
    return f" One of {', '.join(CHOICES[name])}." if unnamed else ""


def _text_of(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def _entry(explained: Explained) -> str:
    end = " Required." if explained.is_required else ""
    end += f" Default: {explained.default}." if explained.default else ""
    return f"  {explained.usage}\n{_wrap(explained.meaning + end, indent='      ')}"


def _wrap(text: str, indent: str = "") -> str:
    return "\n".join(_lines(text, WIDTH, indent, indent))


def _lines(text: str, width: int, first: str, later: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _wrap_doc(doc: str) -> str:
    """Wrap a docstring to the width; indented lines are commands, with shell line continuations."""
    return "\n\n".join(
        "\n".join(map(_wrap_command, paragraph.splitlines()))
        if paragraph.startswith(" ")
        else _wrap(" ".join(paragraph.split()))
        for paragraph in doc.strip().split("\n\n")
    )


def _wrap_command(line: str) -> str:
    if len(line) <= WIDTH:
        return line
    return " \\\n".join(_lines(" ".join(line.split()), WIDTH - 2, "  ", "      "))
