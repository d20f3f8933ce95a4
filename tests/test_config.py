import dataclasses
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.acquisition.registry import ACQUISITIONS
from anneal_jax.acquisition.scan.scorers import PRECISIONS
from anneal_jax.acquisition.threshold import ESTIMATORS
from anneal_jax.config import (
    CHOICES,
    SETTING_TYPES,
    ExperimentConfig,
    config_from_mapping,
)
from anneal_jax.errors import ConfigError, nearest_hint
from anneal_jax.losses.registry import GROUP_LOSSES

NUMBERS = [name for name, kind in SETTING_TYPES.items() if kind in (int, float)]


def documented_settings():
    """Return each setting's text in the docstring, in the order it stands there."""
    text = (ExperimentConfig.__doc__ or "").partition("Attributes:\n")[2]
    found = re.findall(r"^      (\w+): (\S.*?)(?=^      \w|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len({name for name, _ in found}) == len(found)
    return {name: " ".join(words.split()) for name, words in found}


def test_every_setting_is_documented_once_in_the_order_declared():
    names = [field.name for field in dataclasses.fields(ExperimentConfig)]
    assert list(documented_settings()) == names


def test_every_setting_has_a_default_of_a_type_that_a_flag_and_json_can_hold():
    assert set(SETTING_TYPES.values()) <= {str, bool, int, float}
    assert json.loads(json.dumps(dataclasses.asdict(ExperimentConfig())))


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_is_one_of_those_listed_and_its_docstring_tells_which(name):
    for value in CHOICES[name]:
        assert getattr(config_from_mapping({name: value}), name) == value
    message = f"there is no {name} '?'; choose one of {', '.join(CHOICES[name])}."
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        config_from_mapping({name: "?"})
    words = documented_settings()[name]
    quoted = set(re.findall(r"`([^`]+)`", words))
    assert set(CHOICES[name]) <= quoted or "a name in `" in words


def test_the_choices_are_what_is_registered():
    assert set(CHOICES["acquisition"]) == set(ACQUISITIONS)
    assert set(CHOICES["scan_precision"]) == set(PRECISIONS)
    assert set(CHOICES["threshold"]) == set(ESTIMATORS)
    assert list(CHOICES["group_loss"]) == sorted(GROUP_LOSSES)


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_a_range_that_holds_its_default(name):
    for value in (-(10**12), 10**12):
        with pytest.raises(ConfigError, match=rf"{name}={value} is out of range; give \S+ to \S+\."):
            ExperimentConfig(**{name: value})


@pytest.mark.parametrize("name", [name for name in NUMBERS if SETTING_TYPES[name] is float])
def test_not_a_number_is_out_of_range(name):
    with pytest.raises(ConfigError, match=f"{name}=nan is out of range"):
        ExperimentConfig(**{name: math.nan})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"archve": "digits"}, r"there is no setting 'archve' \(did you mean 'archive'\?\)\."),
        ({"pairs_per_rounds": 5}, r"did you mean 'pairs_per_round'\?"),
        ({"xyzzy": 1}, r"there is no setting 'xyzzy'\.$"),
        ({"rounds": "6"}, "rounds='6' has type str; it must be int"),
        ({"rounds": 6.0}, "rounds=6.0 has type float; it must be int"),
        ({"rounds": True}, "rounds=True has type bool; it must be int"),
        ({"rounds": None}, "rounds=None has type NoneType"),
        ({"diversity": 1}, "diversity=1 has type int; it must be bool"),
        ({"margin": True}, "margin=True has type bool; it must be float"),
        ({"archive": 5}, "archive=5 has type int; it must be str"),
        ({"regime": "frozn"}, r"there is no regime 'frozn' \(did you mean 'frozen'\?\); choose one of"),
        ({"train_fraction": 0.6, "query_fraction": 0.4}, "leave no tiles to search"),
        ({"batch_size": 10, "accumulation": 4}, "batch_size=10 cannot be computed in accumulation=4 equal"),
        ({"questions": "grids"}, "there is no questions 'grids'"),
        ({"batch_size": 6, "accumulation": 6}, "equal parts of 2 or more; give a multiple"),
    ],
)
def test_a_wrong_setting_is_one_clear_sentence(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        config_from_mapping(settings)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_a_config_made_directly_is_checked_as_well():
    with pytest.raises(ConfigError, match="seed='0' has type str"):
        ExperimentConfig(seed="0")


def test_a_whole_number_serves_as_a_float():
    assert ExperimentConfig(beta=0) == ExperimentConfig(beta=0.0)


@given(
    rounds=st.integers(0, 100_000),
    margin=st.floats(-1, 1),
    archive=st.text(),
    diversity=st.booleans(),
    regime=st.sampled_from(["frozen", "finetune"]),
)
def test_a_config_survives_json(rounds, margin, archive, diversity, regime):
    config = ExperimentConfig(
        rounds=rounds, margin=margin, archive=archive, diversity=diversity, regime=regime
    )
    assert config_from_mapping(json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_a_config_cannot_be_changed_behind_its_checks():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ExperimentConfig().rounds = -1


def test_a_hint_is_given_only_for_what_is_near():
    assert nearest_hint("sead", ["seed", "steps"]) == " (did you mean 'seed'?)"
    assert nearest_hint("sead", ["archive"]) == ""
    assert nearest_hint("", []) == ""


@pytest.mark.parametrize(("old", "new"), [(True, "turn"), (False, "none")])
def test_older_files_say_yes_or_no_to_augmentation(old, new):
    assert config_from_mapping({"augment": old}).augment == new


def test_older_files_may_name_the_epochs_of_the_heads_alone():
    assert config_from_mapping({"freeze_epochs": 10, "steps": 7}) == ExperimentConfig(steps=7)
