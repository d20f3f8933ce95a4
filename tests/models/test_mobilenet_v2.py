import io
import shlex

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.errors import WeightsError
from anneal_jax.models.backbones import get_backbone
from anneal_jax.models.inverted_residual import depthwise_conv
from anneal_jax.models.mobilenet_v2 import FOLDED_CLASSIFIER, folded_layer_names
from anneal_jax.models.pretrained import CONVERSION, load_pretrained, weights_digest
from tests.reference.networks import conv, mobilenet_v2_features, same_pads


@pytest.fixture(scope="module")
def weights(mobilenet_weights):
    with np.load(mobilenet_weights, allow_pickle=False) as stored:
        return dict(stored)


_depthwise = jax.jit(depthwise_conv, static_argnums=(2, 3))


def _saved(folder, arrays):
    path = folder / "weights.npz"
    np.savez(path, **arrays)
    return path


@given(
    shape=st.sampled_from([(1, 5, 5, 2), (2, 8, 8, 3), (1, 1, 1, 1), (2, 7, 7, 4)]),
    stride=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
)
def test_both_depthwise_forms_match_the_twin(shape, stride, seed):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=shape).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 1, shape[-1])).astype(np.float32)
    expected = conv(images, kernel, stride, same_pads(shape[1], 3, stride), depthwise=True)
    for form in ("shifted_sums", "convolution"):
        outputs = _depthwise(images, kernel, stride, form)
        np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_depthwise_takes_shifted_sums_on_cpu():
    image, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 1, 2))
    program = str(jax.make_jaxpr(lambda i, k: depthwise_conv(i, k, 1))(image, kernel))
    assert ("conv_general_dilated" in program) == (jax.default_backend() != "cpu")


def test_features_match_the_twin_on_real_weights(mobilenet_weights, weights):
    backbone = get_backbone("mobilenet_v2")
    tiles = np.random.default_rng(0).integers(0, 256, (2, 33, 33, 3), dtype=np.uint8)
    variables = load_pretrained(backbone, mobilenet_weights)
    features = jax.jit(backbone.apply)(variables, tiles)
    np.testing.assert_allclose(features, mobilenet_v2_features(weights, tiles), atol=1e-4)


def test_layer_names_are_the_files(weights):
    expected = {name.split("/")[0] for name in weights} - {FOLDED_CLASSIFIER}
    assert [name for _, name in folded_layer_names()] == sorted(expected)


def _file_by_the_description():
    """Random arrays, named and shaped as the head of `pretrained.py` describes."""
    layers = [("conv_s2_act3", (3, 3, 3, 32))]
    channels = 32
    table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2)]
    for expansion, width, blocks, first_stride in [*table, (6, 320, 1, 1)]:
        for stride in [first_stride] + [1] * (blocks - 1):
            wide = expansion * channels
            if expansion > 1:
                layers.append(("conv_s1_act3", (1, 1, channels, wide)))
            layers.append((f"dwconv_s{stride}_act3", (3, 3, 1, wide)))
            layers.append(("conv_s1_act0", (1, 1, wide, width)))
            channels = width
    layers.append(("conv_s1_act3", (1, 1, 320, 1280)))
    rng = np.random.default_rng(0)
    arrays = {}
    for number, (kind, shape) in enumerate(layers):
        spread = np.sqrt(2 / np.prod(shape[:3]))
        arrays[f"{number:02d}_{kind}/kernel"] = (spread * rng.normal(size=shape)).astype(np.float32)
        arrays[f"{number:02d}_{kind}/bias"] = rng.normal(size=shape[-1])
    return arrays


def test_a_file_written_by_the_description_loads_and_computes(tmp_path):
    arrays = _file_by_the_description()
    assert len(arrays) == 2 * 52
    backbone = get_backbone("mobilenet_v2")
    tiles = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    features = jax.jit(backbone.apply)(load_pretrained(backbone, _saved(tmp_path, arrays)), tiles)
    np.testing.assert_allclose(features, mobilenet_v2_features(arrays, tiles), atol=1e-3)


def test_a_file_that_does_not_fit_is_refused_by_name_and_shape(tmp_path, weights):
    changed = {name: array for name, array in weights.items() if name != "51_conv_s1_act3/bias"}
    changed["00_conv_s2_act3/kernel"] = np.zeros((3, 3, 4, 32), np.float32)
    changed["99_extra/kernel"] = np.zeros(1, np.float32)
    with pytest.raises(WeightsError) as refusal:
        load_pretrained(get_backbone("mobilenet_v2"), _saved(tmp_path, changed))
    message = str(refusal.value)
    assert "in 3 of" in message
    assert "00_conv_s2_act3/kernel is (3, 3, 4, 32), expected (3, 3, 3, 32)" in message
    assert "51_conv_s1_act3/bias is absent, expected (1280,)" in message
    assert "99_extra/kernel is (1,), expected absent" in message


def test_non_finite_weights_are_refused(tmp_path, weights):
    broken = weights["00_conv_s2_act3/bias"].copy()
    broken[3] = np.nan
    path = _saved(tmp_path, weights | {"00_conv_s2_act3/bias": broken})
    with pytest.raises(WeightsError, match="00_conv_s2_act3/bias contains nan"):
        load_pretrained(get_backbone("mobilenet_v2"), path)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_pickles_are_refused_unread(tmp_path, suffix):
    path = tmp_path / f"my resnet's{suffix}"
    path.write_bytes(b"cos\nsystem\n")
    with pytest.raises(WeightsError, match=r"is a pickle") as refused:
        load_pretrained(get_backbone("resnet18"), path)
    # The line goes into a shell as it stands.
    command = shlex.split(str(refused.value).partition("PyTorch installed: ")[2])
    assert command == ["python", "-c", CONVERSION, str(path), str(path.with_suffix(".safetensors"))]


def test_missing_file_and_missing_importer_say_what_to_do(tmp_path, mobilenet_weights):
    with pytest.raises(WeightsError, match=r"no weights file at .*absent\.npz"):
        load_pretrained(get_backbone("mobilenet_v2"), tmp_path / "absent.npz")
    with pytest.raises(WeightsError, match=r"'resnet18' must be a \.safetensors file"):
        load_pretrained(get_backbone("resnet18"), mobilenet_weights)
    with pytest.raises(WeightsError, match="no importer for backbone 'tiny_cnn'"):
        load_pretrained(get_backbone("tiny_cnn"), mobilenet_weights)


def _truncated(data):
    return data[: len(data) // 2]


def _flipped(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _npy(data):
    buffer = io.BytesIO()
    np.save(buffer, np.frombuffer(data, np.uint8))
    return buffer.getvalue()


@pytest.mark.parametrize("damage", [_truncated, _flipped, lambda data: b"", lambda data: b"text", _npy])
def test_damaged_file_is_refused(tmp_path, damage):
    buffer = io.BytesIO()
    np.savez(buffer, **{"00_conv_s2_act3/kernel": np.ones((3, 3, 3, 32), np.float32)})
    path = tmp_path / "weights.npz"
    path.write_bytes(damage(buffer.getvalue()))
    with pytest.raises(WeightsError, match="not an intact"):
        load_pretrained(get_backbone("mobilenet_v2"), path)


def test_an_array_of_objects_is_refused_unread(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **{"00_conv_s2_act3/kernel": np.array([{}], dtype=object)})
    with pytest.raises(WeightsError, match="not an intact"):
        load_pretrained(get_backbone("mobilenet_v2"), path)


def test_digest_is_sha256_of_the_bytes(tmp_path):
    path = tmp_path / "weights.npz"
    path.write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert weights_digest(path) == expected
