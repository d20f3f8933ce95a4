"""Plain twins of anneal_jax.pairs: Python lists, sets and loops."""

from itertools import combinations, product


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


def said(answers):
    """Gather [(i, j, label), ...] as {(i, j): set of labels}."""
    found = {}
    for i, j, label in answers:
        found.setdefault((min(i, j), max(i, j)), set()).add(label)
    return found


def closure(answers, num_images):
    """Derive until nothing new follows; returns ({pair: label}, contradictory pairs).

    An image is unsound where it has a pair with both labels; its pairs are not derived.
    """
    known = {pair: set(labels) for pair, labels in said(answers).items()}

    def labels(i, j):
        return known.setdefault((min(i, j), max(i, j)), set())

    before = -1
    while before != (before := sum(map(len, known.values()))):
        for i, j, x in product(range(num_images), repeat=3):
            if len({i, j, x}) == 3 and 1 in labels(i, x):
                labels(i, j).update(labels(x, j))
    both = {pair for pair, found in known.items() if len(found) == 2}
    unsound = {image for pair in both for image in pair}
    derived = {
        pair: min(found)
        for pair, found in known.items()
        if found and pair not in said(answers) and not unsound & set(pair)
    }
    return derived, both


def shortest_similar_path(answers, start, goal, num_images):
    """Return the fewest "similar" answers that lead from one image to another, or None."""
    reached, steps = {start}, 0
    while goal not in reached:
        steps += 1
        reached |= {j for i, j, label in answers if label and i in reached} | {
            i for i, j, label in answers if label and j in reached
        }
        if steps > num_images:
            return None
    return steps


def kappa(one, other):
    """Return the share of equal answers and Cohen's kappa, None where chance alone gives 1."""
    share = sum(a == b for a, b in zip(one, other, strict=True)) / len(one)
    chance = sum((one.count(word) / len(one)) * (other.count(word) / len(other)) for word in (0, 1))
    return share, None if chance == 1 else (share - chance) / (1 - chance)
