"""Shared by the launch scripts: recipes as flags, and one-sentence errors for mistakes of the user."""

import dataclasses
import functools
import pathlib
import re
import signal
import sys
from collections.abc import Callable, Container, Sequence
from typing import NoReturn

from absl import app, flags, logging
from ml_collections import config_dict

from anneal_jax.cli.help import help_text, wanted_help
from anneal_jax.cli.terminal import prepare_streams, printing_fault
from anneal_jax.config import SETTING_TYPES, ExperimentConfig, config_from_mapping
from anneal_jax.errors import AnnealError, ConfigError, nearest_hint, reason_of
from anneal_jax.text import not_utf8, require_utf8

USAGE_ERROR = 2
"""Exit code after a mistake of the user."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as in a shell."""

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def recipe(config: ExperimentConfig) -> config_dict.ConfigDict:
    """Return a config in the form that `--config=FILE` expects from `get_config()`.

    >>> recipe(ExperimentConfig(rounds=2)).rounds
    2
    """
    return config_dict.ConfigDict(dataclasses.asdict(config))


def config_of(value: object, *, labels: str | None = None) -> ExperimentConfig:
    """Check the value of `--config` and convert it to a config.

    Args:
      value: of the flag `--config`.
      labels: a CSV file of class labels, instead of the recipe's; None keeps those.

    Raises:
      ConfigError: there is no recipe, or it cannot be used.
    """
    if not isinstance(value, config_dict.ConfigDict):
        raise ConfigError("give a recipe, such as --config=launch/configs/earth.py.")
    changed = {} if labels is None else {"labels": labels}
    return config_from_mapping(value.to_dict() | changed)


def run_app(
    main: Callable[[Sequence[str]], None], *, module: str = "__main__", num_arguments: int = 0
) -> None:
    """Run an app; an error that is not a bug ends it with one sentence and exit code 2, not a traceback.

    Such errors are mistakes of the user, refused access to a disk or a file, and lack of memory. A terminal
    that cannot print, or a closed pipe, does not stop the app: it finishes its work first.

    Args:
      main: called with the words of the command line, without flags.
      module: its docstring and flags are the app's help.
      num_arguments: maximum number of words after the first.
    """

    def guarded(argv: Sequence[str]) -> None:
        if extra := argv[num_arguments + 1 :]:
            _fail(f"unexpected argument {extra[0]!r}; settings are flags, such as --config.seed=1.")
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # orbax reports every step of every save
        try:
            main(argv)
        except AnnealError as error:
            _fail(as_typed(str(error), flags.FLAGS))
        except (OSError, MemoryError) as error:
            logging.debug("raised here", exc_info=True)  # --verbosity=1 shows it
            _fail(_system_sentence(error))
        except UnicodeEncodeError as error:  # text that no reader has checked
            _fail(str(not_utf8(error.object[: error.end], "the text", ConfigError)))
        except RuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):  # JAX's message when a device's memory is full
                raise
            _fail(_system_sentence(MemoryError()))
        except KeyboardInterrupt:
            print("stopped; the same command continues from here.", file=sys.stderr)
            sys.exit(INTERRUPTED)
        _require_printed()

    prepare_streams()
    app.run(guarded, flags_parser=functools.partial(_parse_flags, module=module))


def as_typed(sentence: str, known: Container[str]) -> str:
    """Write each setting in a message the way this app accepts it.

    The library's messages name settings, as in `set on_bad_image=skip`, because it does not know its
    caller.

    Args:
      sentence: a message of the library.
      known: the flags of the app.

    >>> as_typed("set on_bad_image=skip to leave them out.", {"config"})
    'set --config.on_bad_image=skip to leave them out.'
    >>> as_typed("set on_bad_image=skip to leave them out.", {"on_bad_image"})
    'set --on_bad_image=skip to leave them out.'
    """

    def flag(found: re.Match[str]) -> str:
        if found[1] in known:
            return f"--{found[0]}"
        return f"--config.{found[0]}" if "config" in known else found[0]

    return re.sub(rf"(?<![\w.?&=/-])({'|'.join(SETTING_TYPES)})=", flag, sentence)


def _system_sentence(error: OSError | MemoryError) -> str:
    """Return a message about what the system refused, and for which file."""
    if isinstance(error, MemoryError):
        return "there is not enough memory; reduce the input, or use a machine with more memory."
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{reason_of(error)}; fix this, then run the same command again."


def _require_printed() -> None:
    fault = printing_fault()
    if fault is not None and not isinstance(
        fault, BrokenPipeError
    ):  # whoever closed a pipe had read enough
        _fail(f"the work is done, but some output was not printed ({reason_of(fault)}).")


def _parse_flags(argv: Sequence[str], *, module: str) -> list[str]:
    """Parse flags like absl, but with our own `--help` and error messages."""
    if how := wanted_help(argv[1:]):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a pager that quits early is not an error
        print(help_text(module, full=how == "full"))
        sys.exit(0)
    for argument in argv:
        try:
            require_utf8(argument, "the argument", ConfigError)
        except ConfigError as error:
            _fail(str(error))
    path = _require_recipe_file(argv)
    _require_known_settings(argv)
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _fail(_sentence(error))
    except Exception as error:  # the recipe's code can raise anything
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
    """Return a message about what is wrong with a flag and how to fix it."""
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
    end = "" if sentence.endswith((".", "!", "?")) else "."  # a library's message may lack it
    print(f"error: {sentence}{end}", file=sys.stderr)
    sys.exit(USAGE_ERROR)
