"""Millions of texts in two arrays: a Python string takes 50 bytes in addition to its letters."""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

_TEXTS_AT_ONCE = 65_536


class PackedTexts(Sequence[str]):
    """An immutable sequence of texts, stored as UTF-8.

    >>> texts = packed(["river", "", "forêt"])
    >>> texts[2], len(texts), list(texts[:2])
    ('forêt', 3, ['river', ''])
    """

    def __init__(self, data: bytes | bytearray, ends: npt.NDArray[np.int64]):
        """Wrap concatenated texts.

        Args:
          data: all texts, in UTF-8.
          ends: int64[N], end of each text in `data`.
        """
        self._data, self._ends = data, ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[row] for row in range(*index.indices(len(self))))
        row = range(len(self))[index]
        start = int(self._ends[row - 1]) if row else 0
        return self._data[start : int(self._ends[row])].decode()

    def __iter__(self) -> Iterator[str]:
        start = 0
        for first in range(0, len(self), _TEXTS_AT_ONCE):
            for end in self._ends[first : first + _TEXTS_AT_ONCE].tolist():
                yield self._data[start:end].decode()
                start = end


def packed(texts: Iterable[str]) -> PackedTexts:
    """Return texts packed, reading them once."""
    data, ends = bytearray(), []
    for text in texts:
        data += text.encode()
        ends.append(len(data))
    return PackedTexts(data, np.array(ends, np.int64))


def packed_numbers(prefix: str, count: int) -> PackedTexts:
    """Return names for unnamed things, padded with zeros so that text order is number order.

    >>> list(packed_numbers("row", 11))[-2:]
    ['row09', 'row10']
    """
    width = len(str(max(count - 1, 0)))
    data = bytearray()
    for start in range(0, count, _TEXTS_AT_ONCE):
        numbers = range(start, min(start + _TEXTS_AT_ONCE, count))
        data += "".join(f"{prefix}{number:0{width}d}" for number in numbers).encode()
    return PackedTexts(data, np.arange(1, count + 1, dtype=np.int64) * (len(prefix.encode()) + width))


def first_repeat(texts: Sequence[str]) -> tuple[int, int] | None:
    """Return the positions of a repeated text, the second as early as possible; None if all differ.

    >>> first_repeat(["a", "b", "c", "b", "a"])
    (1, 3)
    """
    hashes = np.fromiter(map(hash, texts), np.int64, len(texts))
    order = np.argsort(hashes)
    is_like_next = hashes[order[1:]] == hashes[order[:-1]]
    suspects = np.union1d(order[1:][is_like_next], order[:-1][is_like_next])
    first: dict[str, int] = {}
    for place in suspects.tolist():  # different texts may have equal hashes
        if (earlier := first.setdefault(str(texts[place]), place)) != place:
            return earlier, place
    return None
