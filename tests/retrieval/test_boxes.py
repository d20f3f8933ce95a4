"""Boxes on a globe, against the definition: some turn of one touches the other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.retrieval.boxes import as_rfc7946, checked_box, touching

LONGITUDES = st.integers(-180, 179)
WIDTHS = st.integers(0, 360)


@given(LONGITUDES, WIDTHS, LONGITUDES, WIDTHS, st.integers(-1, 1))
def test_boxes_touch_whatever_turn_they_are_written_in(west, width, other, other_width, turn):
    points = {(west + step) % 360 for step in range(width + 1)}
    others = {(other + step) % 360 for step in range(other_width + 1)}
    boxes = np.array([[west + 360.0 * turn, 0, west + width + 360.0 * turn, 1]])
    if np.abs(boxes).max() > 540:
        return
    wanted = (float(other), 0.0, float(other + other_width), 1.0)
    if max(map(abs, wanted)) > 540:
        return
    assert touching([boxes], wanted)[0].tolist() == [bool(points & others)]


def test_on_a_plain_nothing_turns_and_nan_touches_nothing():
    metres = np.array([[500_000.0, 5e6, 500_100.0, 5.1e6], [np.nan] * 4])
    assert touching([metres], (500_050.0, 5e6, 500_060.0, 5e6))[0].tolist() == [True, False]
    assert (
        touching([metres], (500_050.0 - 360 * 2, 5e6, 500_060.0 - 360 * 2, 5e6))[0].tolist() == [False] * 2
    )
    assert touching([metres], (5.0, 50.0, 6.0, 51.0))[0].tolist() == [False, False]


@pytest.mark.parametrize(
    ("sides", "box"),
    [
        ("170,-20,-170,-10", (170, -20, 190, -10)),
        ("5, 50 ,6.5,51", (5, 50, 6.5, 51)),
        ("-180,-90,180,90", (-180, -90, 180, 90)),
        ("500000,5600000,500100,5600100", (500_000, 5_600_000, 500_100, 5_600_100)),
    ],
)
def test_boxes_are_read(sides, box):
    assert checked_box(sides.split(",")) == box


@pytest.mark.parametrize(
    "sides", ["3,2,1,4", "7,50,6,51", "1,2,nan,4", "1,5,2,4", "inf,0,inf,1", "200,0,100,1"]
)
def test_what_is_no_box_is_refused(sides):
    with pytest.raises(
        ValueError, match="are not west <= east and south <= north, nor a box across the 180th"
    ):
        checked_box(sides.split(","))


@given(LONGITUDES, WIDTHS)
def test_rfc_7946_has_longitudes_within_180_and_the_same_box(west, width):
    box = [float(west), -5.0, float(west + width), 5.0]
    short = as_rfc7946(box)
    assert max(abs(short[0]), abs(short[2])) <= 180
    if width < 360:
        assert (short[2] - short[0]) % 360 == width % 360
        assert (short[0] > short[2]) == (west + width > 180)
    assert as_rfc7946([500_000.0, 5e6, 500_100.0, 5.1e6]) == [500_000.0, 5e6, 500_100.0, 5.1e6]
