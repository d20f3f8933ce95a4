"""Plain twins of the neighbour graph and of the walks along it: dense, in float64, a loop per tile."""

import numpy as np

FAINTEST = 1e-6


def cosine(one, other):
    """Return the cosine of two vectors; 0 where one of them has no direction."""
    length = np.sqrt(one @ one) * np.sqrt(other @ other)
    return one @ other / length if length else 0.0


def walk(features, num_neighbours, sharpness):
    """Return float64[M, M] twice: the chances of a step from tile to tile, and the edges' weights."""
    features = np.asarray(features, np.float64)
    num_tiles = len(features)
    weights = np.zeros((num_tiles, num_tiles))
    for tile in range(num_tiles):
        others = [other for other in range(num_tiles) if other != tile]
        nearest = sorted(others, key=lambda other: -cosine(features[tile], features[other]))
        for other in nearest[:num_neighbours]:
            weight = max(cosine(features[tile], features[other]), FAINTEST) ** sharpness
            weights[tile, other] = weights[other, tile] = weight
    return weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300), weights


def spread(steps, groups, reached, num_steps, death):
    """Return float64[M, G] after some steps of every walk; groups below 0 are open."""
    reached = np.array(reached, np.float64)
    for step in range(num_steps + 1):
        before = reached.copy()
        for tile, group in enumerate(groups):
            if group >= 0:
                reached[tile] = np.arange(reached.shape[1]) == group
            elif step:
                reached[tile] = sum(
                    (1 - death) * steps[tile, other] * before[other] for other in range(len(groups))
                )
    return reached


def ends_of_walks(steps, groups, num_groups, death):
    """Return float64[M, G], where walks of any length end, in closed form: (I - W_oo) r = W_os y."""
    groups = np.asarray(groups)
    is_open = groups < 0
    alive = (1 - death) * steps
    ends = np.zeros((len(groups), num_groups))
    ends[~is_open] = np.eye(num_groups)[groups[~is_open]]
    among_open = np.eye(is_open.sum()) - alive[np.ix_(is_open, is_open)]
    ends[is_open] = np.linalg.solve(among_open, alive[np.ix_(is_open, ~is_open)] @ ends[~is_open])
    return ends


def membership(reached, balance):
    """Return float64[M, G], each group's share of the walks over its size to the power of balance."""
    num_tiles, num_groups = reached.shape
    shares = np.zeros((num_tiles, num_groups))
    for tile in range(num_tiles):
        for group in range(num_groups):
            shares[tile, group] = reached[tile, group] / reached[:, group].sum() ** balance
        total = shares[tile].sum()
        shares[tile] = shares[tile] / total if total > 1e-12 else 1 / num_groups
    return shares


def chances(prior, new, replies, rate):
    """Return the chances of the groups and of a new one by Bayes, reply by reply.

    Args:
      prior: of each group, given that it is one of them.
      new: chance of a new one.
      replies: (group, is yes, miss rate) of each answer.
      rate: share of wrong answers.
    """
    joint = [*(share * (1 - new) for share in prior), new]
    for group, is_yes, miss_rate in replies:
        for candidate in range(len(joint)):
            says_yes = 1 - rate if candidate == group else rate + (1 - rate) * miss_rate
            joint[candidate] *= says_yes if is_yes else 1 - says_yes
    return np.array(joint) / sum(joint)


def choice_channel(num_candidates, num_groups, rate):
    """Return float64[C, K + 1], the chance of each answer to a choice, "none" last, for each true group."""
    channel = np.full((num_candidates, num_groups + 1), rate / num_groups)
    for candidate in range(num_candidates):
        channel[candidate, min(candidate, num_groups)] = 1 - rate
    return channel


def grid_channel(rate, miss_rate):
    """Return float64[2, 2], the chances of a click and of none, of a tile alike and of an odd one."""
    seen_as_alike = rate + (1 - rate) * miss_rate
    return np.array([[rate, 1 - rate], [1 - seen_as_alike, seen_as_alike]])


def mutual_information(prior, channel):
    """Return the nats that an answer tells of a tile's group, summed over both."""
    joint = np.asarray(prior, np.float64)[:, None] * channel
    information = 0.0
    for row in range(joint.shape[0]):
        for column in range(joint.shape[1]):
            if joint[row, column] > 1e-300:
                apart = joint[row].sum() * joint[:, column].sum()
                information += joint[row, column] * np.log(joint[row, column] / apart)
    return information


def chance_of_new(groups, reached, tile, most, open_tile):
    """Return the chance that a tile belongs to no group so far.

    Args:
      groups: of each tile; `open_tile` where none is settled.
      reached: share of each tile's walks that end in each group.
      tile: an open one.
      most: largest chance.
    """
    settled = [group for group in groups if group != open_tile]
    alone = sum(settled.count(group) == 1 for group in set(settled))
    lost = [min(1.0, max(0.0, 1.0 - sum(row))) for row in reached]
    typical = np.mean([lost[other] for other, group in enumerate(groups) if group == open_tile])
    chance = (alone + 0.5) / (len(settled) + 1) * lost[tile] / max(typical, 1e-6)
    return min(max(chance, 1e-4), most)


def discriminants(directions, groups, kept):
    """Return float64[M, D] by the eigenvectors of S_w^-1 S_b, scaled to variance 1 within groups.

    S_w is shrunk to a multiple of one as chen2010shrinkage do (OAS).
    """
    directions = np.asarray(directions, np.float64)
    tiles, numbers = directions[kept], groups[kept]
    names = sorted(set(numbers.tolist()))
    means = {name: tiles[numbers == name].mean(axis=0) for name in names}
    rest = np.array([tile - means[name] for tile, name in zip(tiles, numbers, strict=True)])
    count, dim = rest.shape
    plain = rest.T @ rest / count
    scale = np.trace(plain) / dim
    alpha = np.mean(plain**2)
    share = min(1.0, (alpha + scale**2) / ((count + 1) * (alpha - scale**2 / dim)))
    within = (1 - share) * plain + share * scale * np.eye(dim)
    offsets = np.array([means[name] - tiles.mean(axis=0) for name in names])
    values, vectors = np.linalg.eig(np.linalg.solve(within, offsets.T @ offsets))
    best = np.argsort(-values.real)[: min(len(names) - 1, dim)]
    columns = [vectors[:, place].real for place in best]
    columns = [column / np.sqrt(column @ within @ column) for column in columns]
    return (directions - tiles.mean(axis=0)) @ np.array(columns).T


def num_moved(before, after):
    """Return how many tiles are not where most tiles of their former group are."""
    moved = 0
    for group in set(before):
        now = [there for was, there in zip(before, after, strict=True) if was == group]
        moved += len(now) - max(now.count(there) for there in set(now))
    return moved


def gain(doubt, moved, tiles):
    """Return (least, expected, most) of the forecast, in shares of the tiles."""
    still_open = min(moved + 1, doubt * tiles / 2 + 1)
    expected = 0.65 * still_open
    least, most = max(0.0, 0.4 * (expected + 1) - 1), 2.4 * (expected + 1) - 1
    return tuple(min(1.0, count / tiles) for count in (least, expected, most))
