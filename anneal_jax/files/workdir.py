"""The folder of a run: used by one run at a time, with one permanent configuration."""

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

_UNNAMED = {"preprocessing": ""}  # old files lack it

GROWING_FIELDS = ("rounds",)
"""Settings that a later command may increase in an existing workdir."""

ANNOTATION_MARK = "annotation.json"
"""A file that only workdirs with a person's answers contain."""


def is_annotated(workdir: pathlib.Path) -> bool:
    """Return whether a person answered in this workdir; a run then asks no questions."""
    return (workdir / ANNOTATION_MARK).exists()


def refuse_annotated(workdir: pathlib.Path) -> None:
    """Refuse a workdir in which a person answered.

    Raises:
      WorkdirError: it is one.
    """
    if is_annotated(workdir):
        raise WorkdirError(
            f"{workdir} contains a person's answers, to which an oracle must not add; train on them with "
            f"launch/run.py --workdir={workdir}, without --config, or give another workdir."
        )


def read_pictures(workdir: pathlib.Path) -> str:
    """Return the archive of the tiles to look at; empty if it is that of the settings.

    Raises:
      WorkdirError: the workdir's record of it cannot be read.
    """
    path = workdir / ANNOTATION_MARK
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("pictures", ""))
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise WorkdirError(
            f"cannot read {path}; write {{}} into it, and name the tiles again with --archive."
        ) from error


def default_workdir(archive: str) -> pathlib.Path:
    """Return the folder for the answers about an archive: in the user's data, the same at every start.

    Args:
      archive: from `data.recognising.recognise`, with an absolute path.

    Raises:
      WorkdirError: the folder would be inside the archive, which is read-only.
    """
    location = archive.partition(":")[2] or archive
    name = re.sub(r"[^\w.-]+", "_", pathlib.PurePath(location.partition("?")[0]).name)[:40]
    digest = hashlib.sha256(os.fsencode(archive)).hexdigest()[:8]
    workdir = _user_data_dir() / "anneal-jax" / f"{name}-{digest}"
    if location.startswith("/") and workdir.resolve().is_relative_to(pathlib.Path(location).resolve()):
        raise WorkdirError(
            f"the answers would be stored in {workdir}, inside the archive, which is read-only; give "
            "another folder as --workdir=FOLDER."
        )
    return workdir


def _user_data_dir() -> pathlib.Path:
    """Return the folder for a user's data, by the XDG base directory specification or Apple's."""
    if sys.platform == "darwin":
        return pathlib.Path.home() / "Library" / "Application Support"
    given = os.environ.get("XDG_DATA_HOME", "")  # the specification says to ignore a relative path
    return pathlib.Path(given) if given.startswith("/") else pathlib.Path.home() / ".local" / "share"


def holder(workdir: pathlib.Path) -> str:
    """Return the random name of the run that holds a workdir now; "" if none does."""
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
    """Create and lock the workdir, so that no second run writes to it; `holder` returns this run's name.

    The operating system holds the lock, so a killed run leaves none behind.

    Raises:
      WorkdirError: another run holds it, it cannot be created, or it contains unrelated files.
    """
    if workdir.is_dir() and any(workdir.iterdir()) and not (workdir / "lock").exists():
        raise WorkdirError(f"{workdir} contains unrelated files; give a new folder as --workdir.")
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
        with contextlib.suppress(OSError):  # a full disk; then the holder stays unknown
            handle.truncate(0)
            handle.write(secrets.token_hex(8))
            handle.flush()
        yield


def check_config(workdir: pathlib.Path, config: ExperimentConfig) -> None:
    """Check the configuration against that of an existing workdir; a new one accepts any.

    Raises:
      WorkdirError: a setting differs from the one the workdir was made with (the message names it; only
        `rounds` may grow), or the old file cannot be read.
    """
    path = workdir / "config.json"
    if path.exists():
        _require_compatible(path, config)


def settle_config(workdir: pathlib.Path, config: ExperimentConfig, inputs: Mapping[str, str]) -> None:
    """Write the configuration and its inputs' fingerprints to a workdir, or compare them with the old.

    Call it after everything that the configuration names has been opened, so that a wrong setting is not
    fixed in the workdir.

    Args:
      workdir: an existing folder.
      config: the settings.
      inputs: fingerprint of each input that the settings point to, such as `tiles`.

    Raises:
      WorkdirError: as for `check_config`, or a path now points to something else.
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
      WorkdirError: it has none, or an incomplete one, or one that this version cannot read.
    """
    path = pathlib.Path(workdir) / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError("it is not a JSON object")
        return config_from_mapping(settings)
    except FileNotFoundError as error:
        raise WorkdirError(f"{workdir} contains no config.json; give the workdir of a run.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise WorkdirError(
            f"cannot read {path} ({str(error).rstrip('.')}); restore it, or start in a new workdir."
        ) from error


def read_inputs(workdir: pathlib.Path) -> dict[str, str]:
    """Return the fingerprints of a workdir's inputs, as written by `settle_config`.

    Raises:
      WorkdirError: there are none, or they cannot be read.
    """
    path = workdir / "inputs.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, TypeError) as error:
        raise WorkdirError(f"cannot read {path}; restore it, or start in a new workdir.") from error


def _require_same_inputs(path: pathlib.Path, inputs: Mapping[str, str]) -> None:
    try:
        old, new = _UNNAMED | read_inputs(path.parent), _UNNAMED | dict(inputs)
        changed = sorted(name for name in new if old[name] != new[name])
    except KeyError as error:
        raise WorkdirError(f"cannot read {path}; restore it, or start in a new workdir.") from error
    if changed:
        raise WorkdirError(
            f"the {' and the '.join(changed)} changed after {path.parent} was made; restore them, or "
            "start in a new workdir."
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
