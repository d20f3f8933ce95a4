"""Files of vectors, weights and dates that nobody foresaw: one sentence each, and never a wrong value."""

import json
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from anneal_jax.data.archives import open_archive
from anneal_jax.errors import ArchiveError, WeightsError, WorkdirError
from anneal_jax.files.workdir import read_config, read_inputs, read_pictures
from anneal_jax.models.backbones import get_backbone
from anneal_jax.models.own_weights import own_metadata, require_backbone
from anneal_jax.models.preprocessing import check_architecture, read_preprocessing
from anneal_jax.models.pretrained import as_pretrained
from anneal_jax.models.torch_names import read_safetensors
from anneal_jax.retrieval.columns import parse_date
from anneal_jax.retrieval.filters import last_moment, parse_filter
from anneal_jax.retrieval.queries import read_vector


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((0, 16), np.float32), r"float32\[0, 16\]"),
        (np.zeros((16, 0), np.float32), r"float32\[16, 0\]"),
        (np.zeros((3, 16), np.float32), r"float32\[3, 16\]"),  # which of them?
        (np.zeros((1, 1, 16), np.float32), r"float32\[1, 1, 16\]"),
        (np.float32(3), r"float32\[\]"),
        (np.zeros(16, np.int64), r"int64\[16\]"),
        (np.array(["a"]), r"<U1\[1\]"),
    ],
)
def test_a_query_is_one_vector(tmp_path, array, found):
    np.save(tmp_path / "q.npy", array)
    with pytest.raises(ArchiveError, match=rf"contains {found}; give one vector per file"):
        read_vector(tmp_path / "q.npy")


def test_a_query_may_be_a_row_and_no_archive_of_arrays(tmp_path):
    np.save(tmp_path / "q.npy", np.ones((1, 3), np.float16))
    assert read_vector(tmp_path / "q.npy").tolist() == [[1, 1, 1]]
    np.savez(tmp_path / "q.npz", np.ones(3))
    with pytest.raises(ArchiveError, match=r"contains several arrays; give one vector per file"):
        read_vector(tmp_path / "q.npz")
    (tmp_path / "p.npy").write_bytes(
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape'"
    )
    with pytest.raises(ArchiveError, match=r"is not an .npy file of a vector"):
        read_vector(tmp_path / "p.npy")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    kept=st.floats(0.1, 1),
)
def test_damaged_vectors_are_vectors_or_a_sentence(tmp_path, changes, kept):
    np.savez_compressed(
        tmp_path / "v.npz", embeddings=np.eye(3, dtype=np.float32), ids=np.array(list("abc"))
    )
    data = bytearray((tmp_path / "v.npz").read_bytes())
    for position, byte in changes:
        data[int(position * len(data))] = byte
    (tmp_path / "v.npz").write_bytes(data[: int(kept * len(data))])
    (tmp_path / "q.npy").write_bytes(data[: int(kept * len(data))])
    for read in (
        lambda: open_archive(f"embeddings:{tmp_path / 'v.npz'}"),
        lambda: read_vector(tmp_path / "q.npy"),
    ):
        try:
            read()
        except ArchiveError as error:
            assert str(tmp_path) in str(error)


def test_an_archive_of_arrays_by_a_method_that_python_lacks(tmp_path):
    np.savez(tmp_path / "v.npz", embeddings=np.eye(3, dtype=np.float32))
    data = bytearray((tmp_path / "v.npz").read_bytes())
    with zipfile.ZipFile(tmp_path / "v.npz") as file:
        central = file.start_dir
    data[8:10] = data[central + 10 : central + 12] = (97).to_bytes(2, "little")
    (tmp_path / "v.npz").write_bytes(data)
    with pytest.raises(ArchiveError, match=r"is damaged: .*compression method"):
        open_archive(f"embeddings:{tmp_path / 'v.npz'}")


def test_weights_of_8_bits_are_refused_by_name(tmp_path):
    import ml_dtypes

    for number, dtype in enumerate(
        (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, np.int8, np.uint8, np.bool_)
    ):
        path = tmp_path / f"{number}.safetensors"
        save_file({"conv1.weight": np.zeros(4, dtype)}, path)
        with pytest.raises(
            WeightsError, match=r"conv1.weight is stored as \w+, .* float32, float16 or bfloat16"
        ):
            read_safetensors(path, "")
    for dtype in (np.float64, np.float16, ml_dtypes.bfloat16):
        save_file({"conv1.weight": np.full(4, 0.5, dtype)}, path)
        assert read_safetensors(path, "")["conv1.weight"].tolist() == [0.5] * 4


TRANSFORMERS = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 224}


@pytest.mark.parametrize(
    "change",
    [
        {"rescale_factor": 0},
        {"rescale_factor": -1},
        {"rescale_factor": True},
        {"rescale_factor": float("nan")},
        {"rescale_factor": "x"},
        {"rescale_factor": 10**400},
        {"resample": -1},
        {"resample": 6},
        {"resample": 2.0},
        {"resample": True},
        {"image_mean": 0.5},
        {"image_mean": [0.5] * 2 + [[0.5]]},
        {"image_mean": [10**400] * 3},
        {"image_mean": [0.5] * 2, "image_std": [0.5] * 4},
        {"image_std": [True] * 3},
        {"image_std": [0, 1, 1]},
        {"size": None},
        {"size": 10**400},
        {"size": {"height": 0}},
        {"size": True},
    ],
)
def test_odd_settings_beside_weights_are_refused(tmp_path, change):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**TRANSFORMERS, **change}))
    with pytest.raises(WeightsError, match=r"the preprocessing next to the weights in .* cannot be used"):
        read_preprocessing(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe{", b"{", b"1" * 5000])
def test_files_beside_weights_that_are_no_json_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"cannot read .*{name} next to the weights"):
        read_preprocessing(tmp_path)
        check_architecture(tmp_path, get_backbone("resnet18"))


def test_our_own_weights_that_do_not_say_enough(tmp_path):
    path = tmp_path / "w.safetensors"
    arrays = {"params/x": np.zeros(1, np.float32)}
    save_file(arrays, path, {"format": "anneal-jax 1"})
    with pytest.raises(WeightsError, match=r"has weights of '', not of 'resnet18'"):
        require_backbone(path, own_metadata(path) or {}, get_backbone("resnet18"))
    for text in ("{", "[]", '{"mean": 3}'):
        save_file(arrays, path, {"format": "anneal-jax 1", "backbone": "resnet18", "preparation": text})
        with pytest.raises(WeightsError, match=r"does not say how its input is prepared"):
            as_pretrained(get_backbone("resnet18"), path)


@pytest.mark.parametrize("text", ["2021-06-30", "20210630", "2021-W26-3", " 2021-06-30 "])
def test_a_bare_date_is_its_whole_day(text):
    assert last_moment(text) == np.datetime64("2021-06-30T23:59:59")
    wanted = parse_filter([], None, text, text)
    assert wanted == {"date": (np.datetime64("2021-06-30T00:00:00"), last_moment(text))}


def test_a_moment_is_a_moment_and_the_ends_of_time_are_refused():
    assert last_moment("2021-06-30T10:15") == np.datetime64("2021-06-30T10:15:00")
    assert last_moment("2021-06-30T00:00:00+02:00") == np.datetime64("2021-06-29T22:00:00")
    for text in ("0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "30.6.2021", ""):
        with pytest.raises(ValueError, match=r"."):
            parse_date(text)


@pytest.mark.parametrize("name", ["config.json", "inputs.json", "annotation.json"])
def test_files_of_a_workdir_that_are_nested_without_end_are_refused(tmp_path, name):
    (tmp_path / name).write_text("[" * 100_000)
    read = {"config.json": read_config, "inputs.json": read_inputs, "annotation.json": read_pictures}[name]
    with pytest.raises(WorkdirError, match=f"cannot read .*{name}"):
        read(tmp_path)
