"""Group losses by the names used in recipes and on command lines."""

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
    """A loss of a batch of embeddings with known groups; settings are keyword arguments."""

    def __call__(self, embeddings: jax.Array, groups: jax.Array, mask: jax.Array) -> jax.Array:
        """Return the loss.

        Args:
          embeddings: float32[B, D], unit norm.
          groups: int32[B], equal numbers are one group.
          mask: bool[B], False leaves a row out, whatever it contains.

        Returns:
          float32[], >= 0 and independent of the order of the batch, both up to rounding; finite with a
          finite gradient for any batch, and 0 if the mask is empty.
        """
        ...


class GroupLossEntry(NamedTuple):
    """A group loss and the settings of a run that it takes.

    Attributes:
      loss: the loss.
      settings: names of settings that are also keywords of the loss. All its other keywords keep their
        published values, even if a setting has the same name.
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
"""Every group loss by its name in the settings."""


def get_group_loss(name: str) -> GroupLoss:
    """Return a group loss by name.

    Args:
      name: a key of `GROUP_LOSSES`.

    Returns:
      The loss, with its published settings as defaults.

    Raises:
      ConfigError: there is no such loss; the message suggests the nearest name and lists all.

    >>> get_group_loss("info_nce").__name__
    'info_nce_loss'
    """
    if name not in GROUP_LOSSES:
        raise unknown_name("group loss", name, GROUP_LOSSES)
    return GROUP_LOSSES[name].loss


def group_loss_settings(config: ExperimentConfig) -> tuple[tuple[str, float], ...]:
    """Return the keyword arguments of the configured group loss that come from the settings.

    >>> group_loss_settings(ExperimentConfig(group_loss="n_pairs", temperature=0.2))
    (('temperature', 0.2),)
    """
    return tuple((name, getattr(config, name)) for name in GROUP_LOSSES[config.group_loss].settings)
