"""Vectors too large for memory, in an unnamed file on disk."""

import itertools
import os
import pathlib
import tempfile
import weakref
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from anneal_jax.errors import ArchiveError, reason_of
from anneal_jax.types import FloatArray

_ROWS_AT_ONCE = 16_384


class FileVectors:
    """float32[N, D] on disk, written in blocks and read by row, from any thread.

    The file is unlinked as soon as it is created, so a kill leaves nothing behind. Its space is reserved
    first. It is read and written by calls, not mapped: a failing disk then raises an error instead of
    killing the process, and what was read takes no memory of the process.
    """

    def __init__(self, num_rows: int, dim: int):
        """Reserve N * D * 4 bytes in `scratch_folder`.

        Raises:
          ArchiveError: the folder lacks the space, or cannot be written to.
        """
        self.shape = (num_rows, dim)
        self._row_bytes = 4 * dim
        folder, num_bytes = scratch_folder(), num_rows * self._row_bytes
        try:
            self._file, name = tempfile.mkstemp(prefix=".anneal-jax-", dir=folder)
            weakref.finalize(self, os.close, self._file)
            pathlib.Path(name).unlink()
            os.posix_fallocate(self._file, 0, num_bytes)
        except OSError as error:
            raise ArchiveError(
                f"{num_rows:,} vectors of {dim:,} numbers take {num_bytes / 1e9:.1f} GB of scratch space, "
                f"which {folder} does not give ({reason_of(error)}); set the variable TMPDIR to "
                "a folder that does"
            ) from error

    def __len__(self) -> int:
        return self.shape[0]

    def __setitem__(self, rows: slice, block: FloatArray) -> None:
        start, stop, step = rows.indices(len(self))
        if step != 1 or block.shape != (stop - start, self.shape[1]):
            raise IndexError(f"a block {block.shape} does not fit into rows {start} to {stop}")
        data = np.ascontiguousarray(block, "<f4").data.cast("B")
        done = 0
        while done < len(data):
            done += os.pwrite(self._file, data[done:], start * self._row_bytes + done)

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> FloatArray:
        """Return float32[B, D], a copy; consecutive rows are read in one call."""
        found = np.empty((len(rows), self.shape[1]), "<f4")
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        for start, stop in itertools.pairwise([*starts.tolist(), len(rows)]):
            self._read(found[start:stop], int(rows[start]))
        return found

    def __iter__(self) -> Iterator[FloatArray]:
        for start in range(0, len(self), _ROWS_AT_ONCE):
            yield from self[np.arange(start, min(start + _ROWS_AT_ONCE, len(self)))]

    def _read(self, into: FloatArray, first_row: int) -> None:
        data = into.data.cast("B")
        done = 0
        while done < len(data):
            count = os.preadv(self._file, [data[done:]], first_row * self._row_bytes + done)
            if not count:
                raise ArchiveError("the scratch file of the vectors was truncated; start again")
            done += count


def scratch_folder() -> pathlib.Path:
    """Return the folder of scratch files: TMPDIR, or one on disk, because /tmp may be in memory."""
    on_disk = pathlib.Path("/var/tmp")  # noqa: S108 - a file without a name is made there
    is_given = "TMPDIR" in os.environ or not os.access(on_disk, os.W_OK)
    return pathlib.Path(tempfile.gettempdir()) if is_given else on_disk
