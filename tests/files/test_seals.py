import json
import math

import pytest

from anneal_jax.files.seals import (
    damaged_files,
    read_sealed,
    seal_of,
    seals_below,
    write_sealed,
)


def test_every_single_flipped_bit_of_sealed_json_is_noticed(tmp_path):
    path = tmp_path / "sealed.json"
    content = {"files": {"a b": [3, "00ff"]}, "small": 1e-06, "name": "été", "flag": True, "none": None}
    write_sealed(path, content)
    assert read_sealed(path) == content == json.loads(path.read_text())["content"]
    data = path.read_bytes()
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            with pytest.raises((ValueError, KeyError, TypeError)):
                read_sealed(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"content": {"a": 1}}', "null"])
def test_json_without_a_seal_is_refused(tmp_path, text):
    path = tmp_path / "sealed.json"
    path.write_text(text)
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_sealed(path)


def test_what_strict_json_has_no_word_for_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_sealed(tmp_path / "sealed.json", {"value": math.nan})
    assert list(tmp_path.iterdir()) == []


def test_damage_of_each_kind_is_found(tmp_path):
    names = ["whole", "flipped", "shorter", "longer", "lost", "folder/inner"]
    (tmp_path / "folder").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(name.encode() * 1_000)
    seals = seals_below(tmp_path)
    assert sorted(seals) == sorted(names)
    assert seals["whole"] == seal_of(tmp_path / "whole")
    assert damaged_files(tmp_path, seals) == []

    data = bytearray((tmp_path / "flipped").read_bytes())
    data[-1] ^= 1
    (tmp_path / "flipped").write_bytes(data)
    (tmp_path / "shorter").write_bytes(b"shorter" * 999)
    (tmp_path / "longer").write_bytes(b"longer" * 1_001)
    (tmp_path / "lost").unlink()
    (tmp_path / "new").write_bytes(b"not sealed")
    assert damaged_files(tmp_path, seals) == ["flipped", "longer", "lost", "shorter"]
