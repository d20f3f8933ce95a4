import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.config import SETTING_TYPES, ExperimentConfig
from anneal_jax.errors import ConfigError
from anneal_jax.experiments.systems import (
    RIVALS,
    SHARED_SETTINGS,
    TRAINED_ONCE,
    base_of,
    canonical_systems,
    configure,
    parse_system,
    reference_of,
    system_names,
)


def test_every_system_can_be_configured_and_no_two_are_alike():
    recipe = ExperimentConfig(steps=7)
    configs = [configure(recipe, name, 3) for name in system_names()]
    assert len(set(configs)) == len(configs) >= 15
    assert {config.steps for config in configs} == {7}
    assert {config.seed for config in configs} == {3}
    assert set(TRAINED_ONCE) <= set(RIVALS)
    assert set(SHARED_SETTINGS) <= set(SETTING_TYPES)


def test_a_recipe_of_a_baseline_does_not_leak_into_pairs():
    config = configure(ExperimentConfig(supervision="tcal"), "mgue", 0)
    assert (config.supervision, config.acquisition, config.diversity) == ("pairs", "mgue", False)


def test_a_variant_changes_its_settings_and_nothing_else():
    plain = configure(ExperimentConfig(), "mgue+clustering", 3)
    varied = configure(ExperimentConfig(), "mgue+clustering+oversample=false+threshold=gaussian", 3)
    assert (varied.oversample, varied.threshold) == (False, "gaussian")
    assert (
        configure(ExperimentConfig(oversample=False, threshold="gaussian"), "mgue+clustering", 3) == varied
    )
    assert plain != varied and varied.diversity


variants = st.fixed_dictionaries(
    {},
    optional={
        "margin": st.floats(-1, 1),
        "candidate_factor": st.integers(1, 1000),
        "oversample": st.booleans(),
        "transitive": st.sampled_from(["one_step", "none"]),
        "initial_draw": st.sampled_from(["class_balanced", "random"]),
    },
)


@given(base=st.sampled_from(system_names()), settings=variants, data=st.data())
def test_a_name_has_one_spelling_which_reads_as_itself_and_is_safe_in_a_list_and_as_a_folder(
    base, settings, data
):
    order = data.draw(st.permutations(list(settings)))
    text = base + "".join(f"+{name}={str(settings[name]).lower()}" for name in order)
    system = parse_system(text)
    assert (system.base, dict(system.settings)) == (base, settings)
    assert parse_system(system.name) == system
    assert base_of(system.name) == base
    assert re.fullmatch(r"[\w.+=-]+", system.name)


@pytest.mark.parametrize(
    ("system", "sentence"),
    [
        ("group_asc", "there is no system 'group_asc' (did you mean 'group_ask'?)"),
        ("mguo+margin=0.3", "there is no system 'mguo' (did you mean 'mgue'?)"),
        ("mgue+margn=0.3", "mgue+margn=0.3: there is no setting 'margn' (did you mean 'margin'?)."),
        ("mgue+margin=x", "mgue+margin=x: margin=x cannot be used; give a number."),
        ("mgue+steps=1.5", "steps=1.5 cannot be used; give a whole number."),
        ("mgue+oversample=yes", "oversample=yes cannot be used; give true or false."),
        ("mgue+margin=3", "mgue+margin=3: margin=3.0 is out of range; give -1.0 to 1.0."),
        ("mgue+threshold=gausian", "there is no threshold 'gausian' (did you mean 'gaussian'?)"),
        ("mgue+margin=0.1+margin=0.2", "contains margin twice; give it once."),
        ("mgue+seed=3", "all systems of a comparison share seed; change it for all, seed=VALUE"),
        ("mgue+diversity=true", "the system's name determines diversity"),
        ("srl_all+group_loss=info_nce", "the system's name determines group_loss"),
    ],
)
def test_a_wrong_name_is_one_sentence(system, sentence):
    with pytest.raises(ConfigError) as caught:
        configure(ExperimentConfig(), system, 0)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_two_names_for_one_run_are_refused():
    with pytest.raises(ConfigError, match=r"mgue and mgue\+margin=0\.1 are the same settings"):
        canonical_systems(ExperimentConfig(), ["mgue", "mgue+margin=.1"])
    names = canonical_systems(ExperimentConfig(margin=0.2), ["mgue", "mgue+margin=.1", "mgue+margin=0.10"])
    assert names == ["mgue", "mgue+margin=0.1"]


def test_a_reference_is_one_of_the_curves_however_it_is_spelt():
    systems = ["class_labels", "mgue+margin=0.3"]
    assert reference_of("mgue+margin=.30", systems) == "mgue+margin=0.3"
    assert reference_of(None, systems) == "random"
    for wrong in ("random", "class_labels", "mgue"):
        with pytest.raises(ConfigError, match=rf"reference {wrong} is not one of .* \(mgue\+margin=0\.3\)"):
            reference_of(wrong, systems)
    with pytest.raises(ConfigError, match=r"no system 'randon' \(did you mean 'random'\?\)"):
        reference_of("randon", systems)
