"""Expected information of an answer about a tile's group: mutual information, in nats.

Source: lindley1956measure.
"""

import numpy as np
import numpy.typing as npt

FloatMatrix = npt.NDArray[np.float64]


def information(outcomes: FloatMatrix, noise: FloatMatrix | float) -> FloatMatrix:
    """Return the information of an answer in nats: entropy of its outcomes less that of its noise, >= 0."""
    return np.maximum(entropy(outcomes) - noise, 0)


def choice_information(believed: FloatMatrix, num_groups: int, rate: float) -> float:
    """Return the expected information in nats of a choice among groups about a tile's group.

    A wrong answer is any of the other outcomes, which are the groups and "none".

    Args:
      believed: float64[G + 1], probabilities of the groups, with those shown first.
      num_groups: number k of groups shown.
      rate: share of wrong answers, in [0, 1).
    """
    outcomes = np.append(believed[:num_groups], believed[num_groups:].sum())
    said = outcomes * (1 - rate) + (1 - outcomes) * rate / num_groups
    noise = entropy(np.array([1 - rate, *[rate / num_groups] * num_groups]))
    return float(information(said, noise))


def grid_information(alike: FloatMatrix, rate: float, miss_rate: float) -> FloatMatrix:
    """Return the expected information in nats about whether a tile of a grid belongs to the group.

    Args:
      alike: probabilities that tiles belong to the group, any shape.
      rate: share of wrong answers, in [0, 1).
      miss_rate: share of odd tiles that are overlooked, in [0, 1).
    """
    missed = rate + (1 - rate) * miss_rate
    clicked = click_chances(alike, rate, miss_rate)
    noise = alike * _binary_entropy(rate) + (1 - alike) * _binary_entropy(missed)
    return np.maximum(_binary_entropy(clicked) - noise, 0)


def click_chances(alike: FloatMatrix, rate: float, miss_rate: float) -> FloatMatrix:
    """Return the probabilities that tiles of a grid are clicked; arguments as for `grid_information`."""
    return alike * rate + (1 - alike) * (1 - rate) * (1 - miss_rate)


def entropy(shares: FloatMatrix) -> FloatMatrix:
    """Return the entropy float64[...] in nats of shares float64[..., K], which sum to 1."""
    return -np.sum(shares * np.log(np.maximum(shares, 1e-300)), axis=-1)


def _binary_entropy(chance: FloatMatrix | float) -> FloatMatrix:
    return entropy(np.stack([np.asarray(chance), 1 - np.asarray(chance)], axis=-1))
