"""Plain float64 twins of anneal_jax.losses, written from the formulas with loops."""

import math

import numpy as np


def contrastive(similarities, labels, mask, margin=0.1):
    costs = [
        1 - s if y == 1 else max(0.0, s - margin)
        for s, y, m in zip(similarities, labels, mask, strict=True)
        if m
    ]
    return mean(costs)


def binary_cross_entropy(logits, labels, mask):
    costs = []
    for logit, y, m in zip(logits, labels, mask, strict=True):
        if m:
            p = 1 / (1 + math.exp(-logit))
            costs.append(-math.log(p) if y == 1 else -math.log(1 - p))
    return mean(costs)


def group_contrastive(embeddings, groups, margin=0.1):
    pull, push = [], []
    for a, positives, negatives in anchors(groups):
        pull += [1 - cosine(embeddings, a, p) for p in positives]
        push += [max(0.0, cosine(embeddings, a, n) - margin) for n in negatives]
    return 0.5 * mean(pull) + 0.5 * mean(push)


def info_nce(embeddings, groups, temperature=0.1):
    costs = []
    for a, positives, negatives in anchors(groups):
        total = sum(math.exp(cosine(embeddings, a, b) / temperature) for b in positives + negatives)
        if positives:
            shares = [math.exp(cosine(embeddings, a, p) / temperature) / total for p in positives]
            costs.append(mean([-math.log(share) for share in shares]))
    return mean(costs)


def n_pairs(embeddings, groups, temperature=0.1):
    costs = []
    for a, positives, negatives in anchors(groups):
        for p in positives if negatives else []:
            s_ap = cosine(embeddings, a, p)
            gaps = [(cosine(embeddings, a, n) - s_ap) / temperature for n in negatives]
            costs.append(math.log(1 + sum(math.exp(gap) for gap in gaps)))
    return mean(costs)


def multi_similarity(embeddings, groups, alpha=2.0, beta=50.0, base=0.5, epsilon=0.1):
    costs = []
    for a, positives, negatives in anchors(groups):
        costs.append(0.0)
        s_p = [cosine(embeddings, a, p) for p in positives]
        s_n = [cosine(embeddings, a, n) for n in negatives]
        if not s_p or not s_n:
            continue
        kept_p = [s for s in s_p if s - epsilon < max(s_n)]
        kept_n = [s for s in s_n if s + epsilon > min(s_p)]
        costs[-1] += math.log(1 + sum(math.exp(-alpha * (s - base)) for s in kept_p)) / alpha
        costs[-1] += math.log(1 + sum(math.exp(beta * (s - base)) for s in kept_n)) / beta
    return mean(costs)


def triplet_batch_hard(embeddings, groups, margin=0.2):
    costs = []
    for a, positives, negatives in anchors(groups):
        if positives and negatives:
            furthest = max(distance(embeddings, a, p) for p in positives)
            nearest = min(distance(embeddings, a, n) for n in negatives)
            costs.append(max(0.0, margin + furthest - nearest))
    return mean(costs)


def triplet_semi_hard(embeddings, groups, margin=0.2):
    costs = []
    for a, positives, negatives in anchors(groups):
        squares = [distance(embeddings, a, n) ** 2 for n in negatives]
        for p in positives if negatives else []:
            d_ap = distance(embeddings, a, p) ** 2
            further = [d for d in squares if d > d_ap]
            costs.append(max(0.0, margin + d_ap - (min(further) if further else max(squares))))
    return mean(costs)


def ranked_list(
    embeddings, groups, alpha=1.2, margin=0.4, temperature=10.0, balance=0.5, weights_from=None
):
    """The weights are constants to the gradient: `weights_from` holds the point they belong to."""
    at, costs = embeddings if weights_from is None else weights_from, []
    for a, positives, negatives in anchors(groups):
        d_p = [distance(embeddings, a, p) for p in positives]
        pull = mean([d - (alpha - margin) for d in d_p if d > alpha - margin])
        near = [n for n in negatives if distance(embeddings, a, n) < alpha]
        weights = [math.exp(temperature * (alpha - distance(at, a, n))) for n in near]
        gaps = [alpha - distance(embeddings, a, n) for n in near]
        push = sum(w * gap for w, gap in zip(weights, gaps, strict=True)) / (sum(weights) or 1)
        costs.append((1 - balance) * pull + balance * push)
    return mean(costs)


def srl(embeddings, groups, alpha=1.2, margin=0.4, balance=0.5):
    radius, costs = alpha - margin, []
    for a, positives, negatives in anchors(groups):
        d_p = [distance(embeddings, a, p) for p in positives]
        hard = [d - radius for d in d_p if d > radius]
        num_easy = len(d_p) - len(hard)
        pull = (1 + num_easy / len(hard)) * mean(hard) if hard else 0.0
        nearest = sorted(negatives, key=lambda n: distance(embeddings, a, n))[: len(positives)]
        mined = [n for n in nearest if distance(embeddings, a, n) < alpha]
        weights = [sum(distance(embeddings, n, b) <= radius for b in range(len(groups))) for n in mined]
        gaps = [alpha - distance(embeddings, a, n) for n in mined]
        push = sum(w * gap for w, gap in zip(weights, gaps, strict=True)) / (sum(weights) or 1)
        costs.append((1 - balance) * pull + balance * push)
    return mean(costs)


GROUP_TWINS = {
    "contrastive": group_contrastive,
    "info_nce": info_nce,
    "multi_similarity": multi_similarity,
    "n_pairs": n_pairs,
    "ranked_list": ranked_list,
    "srl": srl,
    "triplet_batch_hard": triplet_batch_hard,
    "triplet_semi_hard": triplet_semi_hard,
}


def anchors(groups):
    """Yield each image with the lists of its positives and negatives."""
    for a, group in enumerate(groups):
        others = [b for b in range(len(groups)) if b != a]
        yield (
            a,
            [b for b in others if groups[b] == group],
            [b for b in others if groups[b] != group],
        )


def cosine(embeddings, a, b):
    x, y = np.asarray(embeddings[a], np.float64), np.asarray(embeddings[b], np.float64)
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def distance(embeddings, a, b):
    return math.sqrt(max(0.0, 2 - 2 * cosine(embeddings, a, b)))


def mean(values):
    return sum(values) / len(values) if values else 0.0
