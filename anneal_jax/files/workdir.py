"""The folder a run leaves: one run at a time, and one configuration for good."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import re
import secrets
import sys
from collections.abc import Iterator, Mapping

from anneal_jax.config import ExperimentConfig, config_from_mapping
from anneal_jax.errors import WorkdirError, reason_of
from anneal_jax.files import atomic

_UNNAMED = {"preprocessing": ""}  # old files do not name it

GROWING_FIELDS = ("rounds",)
"""Settings that a later command may raise in an old workdir."""

ANNOTATION_MARK = "annotation.json"
"""A file that only the workdirs hold whose answers come from a person."""


def is_annotated(workdir: pathlib.Path) -> bool:
    """Tell whether a person answered in this workdir; a run of it asks nothing."""
    return (workdir / ANNOTATION_MARK).exists()


def refuse_annotated(workdir: pathlib.Path) -> None:
    """Refuse a workdir in which a person answered.

    Raises:
      WorkdirError: it is one.
    """
    if is_annotated(workdir):
        raise WorkdirError(
            f"{workdir} holds a person's answers, to which an oracle adds none; train on them with "
            f"launch/run.py --workdir={workdir}, without --config, or give another workdir."
        )


def read_pictures(workdir: pathlib.Path) -> str:
    """Return the archive of the tiles to look at; empty where it is that of the settings.

    Raises:
      WorkdirError: what the workdir says of it cannot be read.
    """
    path = workdir / ANNOTATION_MARK
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("pictures", ""))
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise WorkdirError(
            f"cannot read {path}; write {{}} into it, and name the tiles again with --archive."
        ) from error


def default_workdir(archive: str) -> pathlib.Path:
    """Return the folder for the answers about an archive: one of the user's, the same at every start.

    Args:
      archive: as `data.recognising.recognise` returns it, with an absolute path.

    Raises:
      WorkdirError: the folder lies inside the archive, which is only read.
    """
    location = archive.partition(":")[2] or archive
    name = re.sub(r"[^\w.-]+", "_", pathlib.PurePath(location.partition("?")[0]).name)[:40]
    digest = hashlib.sha256(os.fsencode(archive)).hexdigest()[:8]
    workdir = _user_data_dir() / "anneal-jax" / f"{name}-{digest}"
    if location.startswith("/") and workdir.resolve().is_relative_to(pathlib.Path(location).resolve()):
        raise WorkdirError(
            f"the answers would be kept in {workdir}, inside the archive, which is only read; give another "
            "folder as --workdir=FOLDER."
        )
    return workdir


def _user_data_dir() -> pathlib.Path:
    """Return the folder for a user's data: by the XDG base directory specification, or Apple's."""
    if sys.platform == "darwin":
        return pathlib.Path.home() / "Library" / "Application Support"
    given = os.environ.get("XDG_DATA_HOME", "")  # a relative one is to be ignored, by that specification
    return pathlib.Path(given) if given.startswith("/") else pathlib.Path.home() / ".local" / "share"


def holder(workdir: pathlib.Path) -> str:
    """Return the name that the run which holds a workdir now drew for itself; "" when none holds it."""
    try:
        with (workdir / "lock").open() as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return handle.read(64)
    except OSError:  # there is no workdir yet
        pass
    return ""


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """Create the workdir and hold it, so that no second run writes into it; `holder` names this one.

    The lock is the operating system's: a killed run leaves none behind.

    Raises:
      WorkdirError: another run holds it, it cannot be created, or it holds files of something else.
    """
    if workdir.is_dir() and any(workdir.iterdir()) and not (workdir / "lock").exists():
        raise WorkdirError(f"{workdir} holds files of something else; give a new folder as --workdir.")
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        handle = (workdir / "lock").open("a")
    except OSError as error:
        raise WorkdirError(f"cannot use {workdir} as a workdir ({reason_of(error)}).") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkdirError(
                f"another run is using {workdir}; wait for it, or give another --workdir."
            ) from error
        with contextlib.suppress(OSError):  # a full disk; then nobody can say who holds it
            handle.truncate(0)
            handle.write(secrets.token_hex(8))
            handle.flush()
        yield


def check_config(workdir: pathlib.Path, config: ExperimentConfig) -> None:
    """Hold the configuration against that of an old workdir; a new one takes any.

    Raises:
      WorkdirError: a setting differs from the one the workdir was made with; it is named. Only
        `rounds` may grow. Or the old file cannot be read.
    """
    path = workdir / "config.json"
    if path.exists():
        _require_compatible(path, config)


def settle_config(workdir: pathlib.Path, config: ExperimentConfig, inputs: Mapping[str, str]) -> None:
    """Write the configuration and what it was run on into a workdir, or hold them against the old ones.

    Call it once everything that the configuration names has been opened: a setting that proves wrong
    before that must not bind the workdir.

    Args:
      workdir: an existing folder.
      config: the settings.
      inputs: fingerprint of each thing that a path in the settings leads to, such as `tiles`.

    Raises:
      WorkdirError: as `check_config`, or a path now leads to something else.
    """
    check_config(workdir, config)
    path = workdir / "inputs.json"
    if path.exists():
        _require_same_inputs(path, inputs)
    else:
        atomic.write_text(path, json.dumps(dict(inputs), indent=2) + "\n")
    text = json.dumps(dataclasses.asdict(config), indent=2)
    atomic.write_text(workdir / "config.json", text + "\n")


def read_config(workdir: str | pathlib.Path) -> ExperimentConfig:
    """Return the configuration of a workdir.

    Raises:
      WorkdirError: it has none, or a torn one, or one that this version cannot read.
    """
    path = pathlib.Path(workdir) / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError("it holds no JSON object")
        return config_from_mapping(settings)
    except FileNotFoundError as error:
        raise WorkdirError(f"{workdir} holds no config.json; give the workdir of a run.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise WorkdirError(
            f"cannot read {path} ({str(error).rstrip('.')}); restore it, or begin in a new workdir."
        ) from error


def read_inputs(workdir: pathlib.Path) -> dict[str, str]:
    """Return the fingerprints of what a workdir was made from, as `settle_config` wrote them.

    Raises:
      WorkdirError: there are none, or they cannot be read.
    """
    path = workdir / "inputs.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, TypeError) as error:
        raise WorkdirError(f"cannot read {path}; restore it, or begin in a new workdir.") from error


def _require_same_inputs(path: pathlib.Path, inputs: Mapping[str, str]) -> None:
    try:
        old, new = _UNNAMED | read_inputs(path.parent), _UNNAMED | dict(inputs)
        changed = sorted(name for name in new if old[name] != new[name])
    except KeyError as error:
        raise WorkdirError(f"cannot read {path}; restore it, or begin in a new workdir.") from error
    if changed:
        raise WorkdirError(
            f"the {' and the '.join(changed)} changed since {path.parent} was made; restore them, or begin "
            "in a new workdir."
        )


def _require_compatible(path: pathlib.Path, config: ExperimentConfig) -> None:
    old, new = dataclasses.asdict(read_config(path.parent)), dataclasses.asdict(config)
    changed = [name for name in new if new[name] != old[name] and name not in GROWING_FIELDS]
    if changed:
        listed = "; ".join(f"{name} was {old[name]!r} and is now {new[name]!r}" for name in changed)
        raise WorkdirError(
            f"{path.parent} was made with other settings: {listed}. Use the old ones, or a new workdir."
        )
    for name in GROWING_FIELDS:
        if new[name] < old[name]:
            raise WorkdirError(
                f"{path.parent} was made with {name}={old[name]}; it may grow, not shrink to {new[name]}."
            )
