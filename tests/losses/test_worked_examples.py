"""Losses worked out by hand: points on a circle, named by their angles in degrees."""

import functools
import math

import jax
import numpy as np
import pytest

from anneal_jax.losses.group import (
    group_contrastive_loss,
    info_nce_loss,
    multi_similarity_loss,
    n_pairs_loss,
)
from anneal_jax.losses.ranked_list import ranked_list_loss
from anneal_jax.losses.srl import similarity_retention_loss
from anneal_jax.losses.triplet import batch_hard_triplet_loss, semi_hard_triplet_loss

NUM_ROWS = 6


def evaluate(loss, degrees, groups, **settings):
    """Value and gradient of a loss for points on the circle; masked points fill the batch."""
    num_points = len(degrees)
    angles = np.radians([*degrees, *[0] * (NUM_ROWS - num_points)])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    numbers = np.array([*groups, *[0] * (NUM_ROWS - num_points)], np.int32)
    function = jax.jit(jax.value_and_grad(functools.partial(loss, **settings)))
    return function(embeddings, numbers, np.arange(NUM_ROWS) < num_points)


def value_of(loss, degrees, groups, **settings):
    return float(evaluate(loss, degrees, groups, **settings)[0])


def chord(degrees):
    return 2 * math.sin(math.radians(degrees) / 2)


def approx(value):
    return pytest.approx(value, rel=1e-5)


def test_group_contrastive_weighs_both_kinds_alike():
    value = value_of(group_contrastive_loss, [0, 60, 0], [0, 0, 1], margin=0.2)
    assert value == approx(0.5 * 0.5 + 0.5 * (0.8 + 0.3) / 2)


def test_info_nce_of_one_positive_and_one_negative():
    # The two of a group have cosine 0.5; the third point is at -1 and -0.5 from them.
    value = value_of(info_nce_loss, [0, 60, 180], [0, 0, 1], temperature=0.5)
    first, second = math.log(1 + math.exp(-1.5 / 0.5)), math.log(1 + math.exp(-1 / 0.5))
    assert value == approx((first + second) / 2)


def test_n_pairs_leaves_other_positives_out_of_the_sum_and_info_nce_does_not():
    points = [0, 0, 0, 180], [0, 0, 0, 1]
    n_pairs = value_of(n_pairs_loss, *points, temperature=1.0)
    info_nce = value_of(info_nce_loss, *points, temperature=1.0)
    assert n_pairs == approx(math.log(1 + math.exp(-2)))
    assert info_nce == approx(math.log(2 + math.exp(-2)))


def test_multi_similarity_mines_nothing_from_a_good_ranking():
    assert value_of(multi_similarity_loss, [0, 10, 180, 190], [0, 0, 1, 1]) == 0


def test_multi_similarity_keeps_what_disorders_the_ranking():
    # Positive at cosine 0.5; negatives at cosine 1 (kept) and -1 (left out) from the anchor at 0.
    # The anchor at 60 sees them at 0.5 (kept, by the mining margin) and -0.5 (left out).
    value = value_of(multi_similarity_loss, [0, 60, 0, 180], [0, 0, 1, 2])
    pull = math.log(1 + math.exp(0)) / 2
    pushes = math.log(1 + math.exp(25)) / 50 + math.log(1 + math.exp(0)) / 50
    assert value == approx((2 * pull + pushes) / 4)


def test_batch_hard_takes_the_furthest_positive_and_the_nearest_negative():
    # The point at 90 is alone in its group: it has no positive and is left out.
    value = value_of(batch_hard_triplet_loss, [0, 20, 50, 90], [0, 0, 0, 1], margin=1.0)
    costs = [chord(50) - chord(90), chord(30) - chord(70), chord(50) - chord(40)]
    assert value == approx(1 + np.mean(costs))


def test_semi_hard_takes_the_nearest_negative_beyond_the_positive():
    # From 0 the negatives are at 30, 50 and 100; the positive is at 40, so 50 is taken.
    # From 40 they are at 10, 10 and 60, so 60 is taken.
    points = [0, 40, 30, 50, 100], [0, 0, 1, 2, 3]
    costs = [chord(40) ** 2 - chord(50) ** 2, chord(40) ** 2 - chord(60) ** 2]
    assert value_of(semi_hard_triplet_loss, *points, margin=1.0) == approx(1 + np.mean(costs))


def test_semi_hard_falls_back_on_the_furthest_negative():
    # The positive is 90 away; negatives are at 10 and 30 from one end, 80 and 60 from the other.
    points = [0, 90, 10, 30], [0, 0, 1, 2]
    costs = [chord(90) ** 2 - chord(30) ** 2, chord(90) ** 2 - chord(80) ** 2]
    assert value_of(semi_hard_triplet_loss, *points, margin=0.0) == approx(np.mean(costs))


@pytest.mark.parametrize("loss", [ranked_list_loss, similarity_retention_loss])
def test_a_group_within_its_ball_is_left_in_peace(loss):
    # Within a group 30 degrees are 0.52 < 0.8; between groups 150 degrees are 1.93 > 1.2.
    value, gradient = evaluate(loss, [0, 30, 180, 210], [0, 0, 1, 1])
    assert float(value) == 0
    assert not np.any(gradient)


def test_ranked_list_weighs_the_nearest_negative_most():
    gaps = {angle: 1.2 - chord(angle) for angle in (20, 40, 60)}
    weights = {angle: math.exp(3 * gap) for angle, gap in gaps.items()}
    costs = [
        sum(weights[n] * gaps[n] for n in seen) / sum(weights[n] for n in seen)
        for seen in [(20, 60), (20, 40), (40, 60)]
    ]
    value = value_of(ranked_list_loss, [0, 20, 60], [0, 1, 2], temperature=3.0, balance=1.0)
    assert value == approx(np.mean(costs))


def test_srl_weighs_a_rare_hard_positive_more():
    # The radius of 0.8 is 47 degrees. Each of 0, 10, 20 has two easy positives and a hard one, at
    # 90: weight 1 + 2 / 1. For 90 all three are hard: weight 1.
    value = value_of(similarity_retention_loss, [0, 10, 20, 90], [0, 0, 0, 0], balance=0.0)
    gaps = [chord(angle) - 0.8 for angle in (90, 80, 70)]
    assert value == approx((3 * sum(gaps) + np.mean(gaps)) / 4)


def test_srl_mines_as_many_negatives_as_there_are_positives():
    # 0 and -10 take one negative each, 50; 50 takes 70 and 60 takes 70; 70 has no positive.
    points = [0, -10, 50, 60, 70], [0, 0, 1, 1, 2]
    costs = [1.2 - chord(angle) for angle in (50, 60, 20, 10)]
    assert value_of(similarity_retention_loss, *points, balance=1.0) == approx(sum(costs) / 5)


def test_srl_weighs_a_negative_by_its_neighbours():
    # The three at 0 each take the two nearest negatives, 40 and -50 of 40, -50 and -70. Within
    # 47 degrees of 40 lie the three and itself, of -50 only -70 and itself: weights 4 and 2.
    points = [0, 0, 0, 40, -50, -70], [0, 0, 0, 1, 2, 3]
    cost = (4 * (1.2 - chord(40)) + 2 * (1.2 - chord(50))) / 6
    assert value_of(similarity_retention_loss, *points, balance=1.0) == approx(3 * cost / 6)
