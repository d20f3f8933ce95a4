"""Group losses by name, as recipes and command lines choose them."""

from types import MappingProxyType
from typing import Protocol

import jax

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


GROUP_LOSSES = MappingProxyType(
    {
        "contrastive": group_contrastive_loss,
        "info_nce": info_nce_loss,
        "multi_similarity": multi_similarity_loss,
        "n_pairs": n_pairs_loss,
        "ranked_list": ranked_list_loss,
        "srl": similarity_retention_loss,
        "triplet_batch_hard": batch_hard_triplet_loss,
        "triplet_semi_hard": semi_hard_triplet_loss,
    }
)
"""Every group loss, by the name that settings use."""

TEMPERED_LOSSES = frozenset({"info_nce", "n_pairs"})
"""Those whose setting `temperature` divides the cosines; elsewhere the word means something else."""


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
    return GROUP_LOSSES[name]
