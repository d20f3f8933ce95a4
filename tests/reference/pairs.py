"""Plain twins of anneal_jax.pairs: Python lists, sets and loops."""

from itertools import combinations


def all_pairs(num_images):
    return list(combinations(range(num_images), 2))


def rank_of(first, second, num_images):
    """Place of a pair in the row-by-row list, in Python's unbounded integers."""
    rows_before = first * (2 * num_images - first - 1) // 2
    return rows_before + second - first - 1


def class_balanced_pairs(rng, labels, fraction, num_similar, num_dissimilar):
    """Take its partners for one image after another; a pair seen before is passed over."""
    num_anchors = max(1, round(fraction * len(labels)))
    drawn = []
    for anchor in rng.permutation(len(labels)).tolist()[:num_anchors]:
        others = [image for image in range(len(labels)) if image != anchor]
        same = [image for image in others if labels[image] == labels[anchor]]
        rest = [image for image in others if labels[image] != labels[anchor]]
        for partners, count in ((same, num_similar), (rest, num_dissimilar)):
            for partner in rng.permutation(partners).tolist()[:count]:
                pair = (int(min(anchor, partner)), int(max(anchor, partner)))
                if pair not in drawn:
                    drawn.append(pair)
    return drawn


def one_step(answers):
    """Derive from {(i, j): label}; returns ({pair: label}, number of contradictory pairs)."""
    implied = {}
    for one, other in combinations(answers, 2):
        ends = set(one) ^ set(other)
        labels = {answers[one], answers[other]}
        if len(ends) == 2 and labels != {0}:
            implied.setdefault(tuple(sorted(ends)), set()).add(min(labels))
    derived = {
        pair: min(labels) for pair, labels in implied.items() if len(labels) == 1 and pair not in answers
    }
    contradictory = [
        pair for pair, labels in implied.items() if len(labels | {answers.get(pair, min(labels))}) > 1
    ]
    return derived, len(contradictory)
