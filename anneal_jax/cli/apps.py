"""What the launch scripts share: recipes as flags, and mistakes answered in one sentence."""

import dataclasses
import pathlib
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags, logging
from ml_collections import config_dict

from anneal_jax.cli.help import help_text, wanted_help
from anneal_jax.config import SETTING_TYPES, ExperimentConfig, config_from_mapping
from anneal_jax.errors import AnnealError, ConfigError, nearest_hint

USAGE_ERROR = 2
"""Exit code after a mistake of the user."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell gives it."""

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def recipe(config: ExperimentConfig) -> config_dict.ConfigDict:
    """Return a config as `--config=FILE` wants it from `get_config()`.

    >>> recipe(ExperimentConfig(rounds=2)).rounds
    2
    """
    return config_dict.ConfigDict(dataclasses.asdict(config))


def config_of(value: object) -> ExperimentConfig:
    """Check what `--config` gave and turn it into a config.

    Raises:
      ConfigError: no recipe, or one that cannot be used.
    """
    if not isinstance(value, config_dict.ConfigDict):
        raise ConfigError("give a recipe, such as --config=launch/configs/digits.py.")
    return config_from_mapping(value.to_dict())


def run_app(main: Callable[[Sequence[str]], None]) -> None:
    """Run an app; a mistake of the user ends it with one sentence and exit code 2, no traceback."""

    def guarded(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            _fail(f"unexpected argument {argv[1]!r}; settings are flags, such as --config.seed=1.")
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # orbax reports every step of every save
        try:
            main(argv)
        except AnnealError as error:
            _fail(str(error))
        except KeyboardInterrupt:
            print("stopped; the same command goes on from here.", file=sys.stderr)
            sys.exit(INTERRUPTED)

    app.run(guarded, flags_parser=_parse_flags)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    """Parse as absl does, but answer `--help` and a mistake in words of our own."""
    if how := wanted_help(argv[1:]):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a pager that ends early is no fault
        print(help_text(sys.modules["__main__"].__doc__ or "", full=how == "full"))
        sys.exit(0)
    path = _require_recipe_file(argv)
    _require_known_settings(argv)
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _fail(_sentence(error))
    except Exception as error:  # whatever the code of the recipe raises
        _fail(f"the recipe {path} cannot be used ({type(error).__name__}: {error}).")


def _require_recipe_file(argv: Sequence[str]) -> str:
    """Return the recipe's path, "" without one; absl would report a missing file only on use."""
    found = re.search(r"^--?config[=\n](.+)$", "\n".join(argv), re.MULTILINE)
    path = found[1].partition(":")[0] if found else ""
    if path and not pathlib.Path(path).is_file():
        _fail(f"there is no recipe {path!r}; see launch/configs/.")
    return path


def _require_known_settings(argv: Sequence[str]) -> None:
    for argument in argv[1:]:
        found = re.match(r"--?(?:no)?config\.([^=]*)", argument)
        if found and found[1] not in SETTING_TYPES:
            _fail(f"there is no setting --config.{found[1]}{nearest_hint(found[1], SETTING_TYPES)}.")


def _sentence(error: flags.Error) -> str:
    """Say what is wrong with a flag, and what to give."""
    text = str(error).strip()
    if isinstance(error, flags.UnrecognizedFlagError):
        if error.flagname.startswith("config."):
            return f"give --config=FILE, a recipe, before --{error.flagname}."
        return f"there is no flag --{error.flagname}{nearest_hint(error.flagname, flags.FLAGS)}."
    if missing := re.match(r"flag --(\w+)=None: ", text):
        return f"--{missing[1]} is missing; --help says what it is."
    if wrong := re.match(r"flag (--config\.(\w+)=.*?): ", text):
        return f"{wrong[1]} cannot be used; give {_KINDS[SETTING_TYPES[wrong[2]]]}."
    if broken := re.match(r"flag --config=(.*?): ", text):
        return f"the recipe {broken[1]} cannot be used ({text.splitlines()[-1].rstrip('.')})."
    return f"{text.rstrip('.')}; --help lists every flag."


def _fail(sentence: str) -> NoReturn:
    end = "" if sentence.endswith((".", "!", "?")) else "."  # a library's message may do without
    print(f"error: {sentence}{end}", file=sys.stderr)
    sys.exit(USAGE_ERROR)
