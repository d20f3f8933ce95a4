"""An SQLite file that is changed in short transactions, and sealed while it is closed.

It uses a rollback journal with `synchronous=EXTRA`, because write-ahead logging has a corruption bug in the
SQLite that comes with Python 3.11, and one commit per answer only costs about a millisecond.
"""

import pathlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

from anneal_jax.errors import StorageFullError, StoreError, UnwritableError, is_full_disk
from anneal_jax.files import seals

_PRAGMAS = ("journal_mode = DELETE", "synchronous = EXTRA", "foreign_keys = ON")

# How long a transaction waits for that of another process; each takes milliseconds.
_TIMEOUT_S = 30.0


class SealedFile:
    """Transactions on the file of an answer store, and its seal.

    The SHA-256 of a closed file is stored next to it in `NAME.seal`, so that a single flipped bit is
    detected anywhere, even in unused parts of the file. A file in use has no seal.

    Attributes:
      path: path of the file.
    """

    def __init__(self, path: str | pathlib.Path, *, read_only: bool = False):
        """Set the path of the file; each transaction opens it."""
        self.path = pathlib.Path(path)
        self._seal_path = self.path.with_name(self.path.name + ".seal")
        self._read_only = read_only

    def close(self) -> None:
        """Seal the file. Using it again removes the seal."""
        if self._read_only:
            return
        with self._transaction():
            self._write_seal(seals.seal_of(self.path)._asdict())

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection inside one transaction that removes the seal, for modules of this folder."""
        with self._transaction() as connection:
            self._break_seal()
            yield connection

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Yield a connection inside one read-only transaction, for modules of this folder."""
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection inside one immediate transaction; commit, or roll back on an error."""
        try:
            # Closing without a commit rolls the transaction back.
            with closing(self._connect()) as connection:
                connection.execute("BEGIN" if self._read_only else "BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
        # The last: a damaged text.
        except (sqlite3.Error, OSError, UnwritableError, UnicodeDecodeError) as error:
            raise self._refusal(error) from error

    def _connect(self) -> sqlite3.Connection:
        if self._read_only:
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            return sqlite3.connect(uri, timeout=_TIMEOUT_S, isolation_level=None, uri=True)
        connection = sqlite3.connect(self.path, timeout=_TIMEOUT_S, isolation_level=None)
        for setting in _PRAGMAS:
            connection.execute(f"PRAGMA {setting}")
        return connection

    def _refusal(self, error: Exception) -> StoreError:
        is_full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        if is_full or is_full_disk(error.__cause__ or error):
            return StorageFullError(
                f"there is no room left for the answer store {self.path}, so the last request was not "
                "stored; free some space, then repeat it. Everything acknowledged before is safe."
            )
        return StoreError(
            f"the answer store {self.path} cannot be used ({error}); free it if another program "
            "holds it, else restore a copy of it, or start in a new workdir."
        )

    def _require_seal(self) -> None:
        """Raise an error if the file has changed since it was closed; a store in use has no seal."""
        seal = self._read_seal()
        if seal and seal != seals.seal_of(self.path)._asdict():
            raise StoreError(
                f"the answer store {self.path} is damaged (it has changed since it was closed); "
                f"restore a copy of it together with {self._seal_path.name}."
            )

    def _read_seal(self) -> dict[str, Any]:
        try:
            return seals.read_sealed(self._seal_path)
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"the seal {self._seal_path} of the answer store is damaged; delete it if the store "
                "itself opens without it, else restore a copy of both."
            ) from error

    def _break_seal(self) -> None:
        if self._read_seal():
            self._write_seal({})

    def _write_seal(self, seal: Mapping[str, Any]) -> None:
        seals.write_sealed(self._seal_path, seal)
