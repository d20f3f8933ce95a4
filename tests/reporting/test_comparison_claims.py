import pytest

from anneal_jax.experiments.grid import Cell
from anneal_jax.reporting.comparison_claims import (
    OPEN,
    REFUTED,
    REPRODUCED,
    claims_markdown,
    papers_claims,
)
from anneal_jax.reporting.comparison_curves import runs_of

SEEDS = range(3)
NOISE = (-0.01, 0.0, 0.01)
BITS = (672, 1008, 1344)


def cells_of(system, figures, bits=BITS, noise=NOISE):
    """Three seeds whose figures differ by a little; the same little at each round."""
    return [
        Cell(
            system,
            seed,
            [
                {
                    "round_index": index,
                    "bits_spent": spent,
                    "mean_average_precision_at_5": figure + noise[seed],
                    "mean_average_precision_at_5_features": 0.25,
                }
                for index, (spent, figure) in enumerate(zip(bits, figures, strict=True))
            ],
        )
        for seed in SEEDS
    ]


def verdict(cells, sentence):
    runs = runs_of(cells)
    (claim,) = [claim for claim in papers_claims(runs) if claim.sentence.startswith(sentence)]
    return claim.judge(runs)


RANDOM = cells_of("random", [0.5, 0.5, 0.5], noise=(0, 0, 0))
ABOVE_RANDOM = "BCGUE + clustering is above random"


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ([0.5, 0.6, 0.7], REPRODUCED),
        ([0.5, 0.6, 0.51], OPEN),  # the interval of the last round is +-0.025
        ([0.5, 0.6, 0.4], REFUTED),
        ([0.4, 0.6, 0.7], REPRODUCED),  # round 0 is not the method's doing
    ],
)
def test_above_at_every_number_of_bits_needs_every_round_after_the_first(figures, expected):
    found = verdict([*RANDOM, *cells_of("bcgue+clustering", figures)], ABOVE_RANDOM)
    assert found.verdict == expected


def test_by_how_much_names_the_least_and_the_most():
    found = verdict([*RANDOM, *cells_of("bcgue+clustering", [0.5, 0.6, 0.7])], ABOVE_RANDOM)
    assert found.by == (
        "above in 2 of 2 rounds; least +0.100 (+0.075 to +0.125) at 1,008 bits; "
        "most +0.200 (+0.175 to +0.225) at 1,344 bits"
    )


@pytest.mark.parametrize(("best", "expected"), [(0.83, REPRODUCED), (0.8, OPEN), (0.77, REFUTED)], ids=str)
def test_the_largest_gain_is_held_against_thirty_points(best, expected):
    cells = [*RANDOM, *cells_of("mgue+clustering", [0.5, best, 0.6])]
    found = verdict(cells, "MGUE + clustering gains")
    assert found.verdict == expected and "at 1,008 bits" in found.by


def test_tcal_is_compared_from_the_first_round_on_and_read_off_between_its_own():
    tcal = cells_of("tcal_igarss", [0.4, 0.6], bits=(336, 1008), noise=(0, 0, 0))  # 0.5 at 672
    cells = [*tcal, *cells_of("bcgue+clustering", [0.45, 0.7, 0.8])]
    assert verdict(cells, "BCGUE + clustering is above TCAL (IGARSS").verdict == REFUTED
    cells = [*tcal, *cells_of("bcgue+clustering", [0.55, 0.7, 0.8])]
    assert verdict(cells, "BCGUE + clustering is above TCAL (IGARSS").verdict == REPRODUCED


@pytest.mark.parametrize(
    ("level", "expected"),
    [(0.585, REPRODUCED), (0.635, OPEN), (0.7, REFUTED)],  # at 1,020 bits it has 0.604
    ids=str,
)
def test_a_level_counts_as_reached_from_a_hundredth_below(level, expected):
    cells = [
        *cells_of("bcgue+clustering", [0.5, 0.6, 0.712]),
        *cells_of("all_pairs", [level], bits=[10**6], noise=(0, 0, 0)),
        *cells_of("class_labels", [0.9], bits=[3000]),
    ]
    found = verdict(cells, "BCGUE + clustering reaches")
    assert found.verdict == expected and "at 1,020 bits" in found.by


def test_a_curve_that_ends_too_soon_tells_nothing():
    cells = [
        *cells_of("bcgue+clustering", [0.5, 0.6, 0.7]),
        *cells_of("all_pairs", [0.5], bits=[10**6]),
        *cells_of("class_labels", [0.9], bits=[7379]),
    ]
    found = verdict(cells, "BCGUE + clustering reaches")
    assert found == (OPEN, "bcgue+clustering ends at 1,344 bits, before 2,509")


@pytest.mark.parametrize(("at_half", "expected"), [(0.7, REPRODUCED), (0.9, REFUTED)])
def test_tcals_bound_is_judged_by_a_run_that_labels_everything(at_half, expected):
    labels = cells_of("class_labels", [0.95], bits=[1000])
    short = cells_of("tcal_igarss", [0.6, 0.7], bits=(100, 540))
    text = claims_markdown([*labels, *short])
    assert "only past 54% of all labels' bits (IGARSS): needs tcal_igarss+tcal_bits=N" in text
    noise = (0.002, 0.0, 0.001)
    long = cells_of("tcal_igarss+tcal_bits=1000", [0.6, at_half], bits=(100, 540))
    for cell, last in zip(long, noise, strict=True):
        end = at_half if expected == REFUTED else 0.9
        cell.rows.append({**cell.rows[0], "bits_spent": 1000})
        cell.rows[-1]["mean_average_precision_at_5"] = end + NOISE[cell.seed] + last
    found = verdict([*labels, *short, *long], "TCAL reaches its upper bound")
    assert found.verdict == expected and "at 540 bits" in found.by


def test_what_is_not_in_the_grid_is_named_and_one_seed_tells_nothing():
    cells = [*RANDOM, *cells_of("bcgue+clustering", [0.5, 0.6, 0.7])]
    text = claims_markdown(cells)
    assert (
        f"| {ABOVE_RANDOM} pairs at every number of bits | IGARSS | **{REPRODUCED}** | above in 2" in text
    )
    assert (
        "- MGUE + clustering is above random pairs at every number of bits (IGARSS, of BCGUE): nee" in text
    )
    assert "needs all_pairs, class_labels" in text
    single = claims_markdown([cell for cell in cells if cell.seed == 0])
    assert f"**{OPEN}** | an interval needs two seeds" in single and REPRODUCED + "**" not in single
