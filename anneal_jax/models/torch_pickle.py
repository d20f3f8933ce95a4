"""Reads tensors without PyTorch from a file written by a PyTorch version before 1.6.

Such a file consists of a few pickles, followed by the numbers. A pickle can name any function and call it,
so this reader only knows four names, gives each a harmless meaning, and refuses all others: the result can
only contain arrays, numbers, texts and their containers. It is the only code of this package that reads
pickles, and is meant for bytes with a known checksum.
"""

import collections
import io
import math
import pickle
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anneal_jax.errors import WeightsError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
_COUNT = struct.Struct("<q")  # count before the numbers of each storage


class _Storage(NamedTuple):
    """A block of numbers, stored later in the file."""

    key: str
    dtype: np.dtype[Any]
    size: int


class _Tensor(NamedTuple):
    """A view of a storage, like the first arguments of PyTorch's corresponding function."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(data: bytes, file: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a `state_dict`.

    Args:
      data: the content of the file.
      file: its path, for the messages.

    Returns:
      float32 and int64 arrays, by name.

    Raises:
      WeightsError: the file is damaged, or names something not needed for arrays.
    """
    stream = io.BytesIO(data)
    try:
        head = [_Unpickler(stream).load() for _ in range(3)]
        if head[:2] != [_MAGIC, _PROTOCOL] or not head[2]["little_endian"]:
            raise ValueError("it does not start like such a file")
        tensors = dict(_Unpickler(stream).load())
        keys = _Unpickler(stream).load()
        storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
        numbers = {key: _numbers(stream, storages[key]) for key in keys}
        return {name: _array(tensor, numbers[tensor.storage.key]) for name, tensor in tensors.items()}
    except _ForbiddenNameError as error:
        raise WeightsError(f"{file} names {error}, which arrays do not need; it was not called") from error
    except Exception as error:  # a damaged pickle can raise any error of its operations
        raise WeightsError(
            f"{file} is not an intact file of PyTorch tensors ({error}); download it again"
        ) from error


class _ForbiddenNameError(Exception):
    """A pickle names something unknown."""


class _Unpickler(pickle.Unpickler):
    """Builds arrays, numbers, texts and their containers, and nothing else."""

    def find_class(self, module: str, name: str, /) -> Any:
        """Return the replacement for one of the four names in a tensor's pickle."""
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]  # a value, which cannot be called
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        raise _ForbiddenNameError(f"{module}.{name}")

    def persistent_load(self, pid: Any, /) -> _Storage:
        """Return the storage that a pickle refers to."""
        kind, dtype, key, _, size, view = pid
        if kind != "storage" or view is not None or not isinstance(dtype, np.dtype):
            raise ValueError(f"{pid!r} is not a whole storage")
        return _Storage(str(key), dtype, int(size))


def _tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


def _numbers(stream: io.BytesIO, storage: _Storage) -> np.ndarray:
    (size,) = _COUNT.unpack(stream.read(_COUNT.size))
    if size != storage.size:
        raise ValueError(f"storage {storage.key} has {size} numbers, not {storage.size}")
    return np.frombuffer(stream.read(size * storage.dtype.itemsize), storage.dtype, size)


def _array(tensor: _Tensor, numbers: np.ndarray) -> np.ndarray:
    """Return a copy of a tensor from its storage, where its axes may have any order."""
    shape, strides = tensor.shape, tensor.strides
    last = tensor.offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    is_inside = min((*shape, *strides, tensor.offset, 1)) >= 0 and last < len(numbers)
    if not is_inside or math.prod(shape) > len(numbers):  # a step of 0 would repeat numbers without end
        raise ValueError(f"a tensor of shape {shape} is not within its storage")
    steps = [step * numbers.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], shape, steps, writeable=False).copy()
