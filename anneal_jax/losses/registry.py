"""Group losses by name, as recipes and command lines choose them."""

from types import MappingProxyType
from typing import NamedTuple, Protocol

import jax

from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import unknown_name
from anneal_jax.losses.group import (
    group_contrastive_loss,
    info_nce_loss,
    multi_similarity_loss,
    n_pairs_loss,
)
from anneal_jax.losses.ranked_list import ranked_list_loss
from anneal_jax.losses.srl import similarity_retention_loss
from anneal_jax.losses.triplet import batch_hard_triplet_loss, semi_hard_triplet_loss


class GroupLoss(Protocol):
    """A loss of a batch of embeddings whose groups are known; settings are keyword arguments."""

    def __call__(self, embeddings: jax.Array, groups: jax.Array, mask: jax.Array) -> jax.Array:
        """Return the loss.

        Args:
          embeddings: float32[B, D], unit norm.
          groups: int32[B], equal numbers are one group.
          mask: bool[B], False leaves a row out, whatever it holds.

        Returns:
          float32[], >= 0 and the same in any order of the batch, both up to rounding; finite with
          a finite gradient for any batch, and 0 where the mask is empty.
        """
        ...


class GroupLossEntry(NamedTuple):
    """A group loss, and which settings of a run it takes.

    Attributes:
      loss: the loss.
      settings: names of settings, which are keywords of the loss, too. All its other keywords keep their
        published values, also where a setting happens to have the same name.
    """

    loss: GroupLoss
    settings: tuple[str, ...] = ()


GROUP_LOSSES = MappingProxyType(
    {
        "contrastive": GroupLossEntry(group_contrastive_loss),
        "info_nce": GroupLossEntry(info_nce_loss, ("temperature",)),
        "multi_similarity": GroupLossEntry(multi_similarity_loss),
        "n_pairs": GroupLossEntry(n_pairs_loss, ("temperature",)),
        "ranked_list": GroupLossEntry(ranked_list_loss),
        "srl": GroupLossEntry(similarity_retention_loss),
        "triplet_batch_hard": GroupLossEntry(batch_hard_triplet_loss),
        "triplet_semi_hard": GroupLossEntry(semi_hard_triplet_loss),
    }
)
"""Every group loss, by the name that settings use."""


def get_group_loss(name: str) -> GroupLoss:
    """Look a group loss up by name.

    Args:
      name: a key of `GROUP_LOSSES`.

    Returns:
      The loss, with its published settings as defaults.

    Raises:
      ConfigError: there is no such loss; the message names the nearest and lists all.

    >>> get_group_loss("info_nce").__name__
    'info_nce_loss'
    """
    if name not in GROUP_LOSSES:
        raise unknown_name("group loss", name, GROUP_LOSSES)
    return GROUP_LOSSES[name].loss


def group_loss_settings(config: ExperimentConfig) -> tuple[tuple[str, float], ...]:
    """Return the keywords of the configured group loss that the settings fix, and their values.

    >>> group_loss_settings(ExperimentConfig(group_loss="n_pairs", temperature=0.2))
    (('temperature', 0.2),)
    """
    return tuple((name, getattr(config, name)) for name in GROUP_LOSSES[config.group_loss].settings)
