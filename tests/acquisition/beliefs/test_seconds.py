"""Seconds of a glance, as expected of anybody and by a person's own times."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.acquisition.beliefs.seconds import LONGEST, SLOWEST, GlanceSeconds, GlanceTime

TIMES = st.builds(
    GlanceTime,
    kind=st.sampled_from(["pair", "choice", "grid"]),
    num_shown=st.integers(1, 12),
    num_clicks=st.integers(0, 12),
    elapsed_s=st.floats(0, 1000),
)


def times_of(person, kinds, count):
    shown = {"pair": (1, 0), "choice": (4, 0), "grid": (9, 2)}
    return [GlanceTime(kind, *shown[kind], person.of(kind, *shown[kind])) for kind in kinds] * count


def test_nobody_s_times_are_those_expected_of_anybody():
    assert GlanceSeconds.fit([]) == GlanceSeconds()


def test_times_as_expected_change_nothing():
    times = times_of(GlanceSeconds(), ["pair", "choice", "grid"], 30)
    np.testing.assert_allclose(GlanceSeconds.fit(times), GlanceSeconds())


def test_many_times_of_a_slow_person_are_believed_and_few_are_not():
    slow = GlanceSeconds(*(2 * part for part in GlanceSeconds()))
    few, many = (
        GlanceSeconds.fit(times_of(slow, ["pair", "choice", "grid"], count)).of("grid", 9, 2)
        for count in (1, 200)
    )
    assert GlanceSeconds().of("grid", 9, 2) < few < many
    np.testing.assert_allclose(many, slow.of("grid", 9, 2), rtol=0.02)


def test_whoever_is_slow_at_pairs_is_expected_to_be_slow_at_grids():
    fitted = GlanceSeconds.fit([GlanceTime("pair", 1, 0, 3.2)] * 50)
    np.testing.assert_allclose(fitted.pair, 3.2, rtol=0.05)
    assert 1.3 < fitted.of("grid", 12) / GlanceSeconds().of("grid", 12) < 2


def test_an_hour_away_counts_as_a_slow_glance():
    away, slow = (
        GlanceSeconds.fit([GlanceTime("pair", 1, 0, seconds)]) for seconds in (3600.0, 1.6 * LONGEST)
    )
    assert away == slow


@given(times=st.lists(TIMES, max_size=30))
def test_parts_stay_positive_whatever_was_measured(times):
    fitted = np.array(GlanceSeconds.fit(times))
    assert (fitted >= SLOWEST * np.array(GlanceSeconds()) - 1e-12).all() and np.isfinite(fitted).all()
    assert GlanceSeconds.fit(times[::-1]) == GlanceSeconds.fit(times) or np.allclose(
        fitted, GlanceSeconds.fit(times[::-1])
    )
