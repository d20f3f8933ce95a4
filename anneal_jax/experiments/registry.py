"""Every method, by its name in the setting `supervision`."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import ConfigError
from anneal_jax.experiments import label_baselines
from anneal_jax.experiments.belief_rounds import open_belief_rounds
from anneal_jax.experiments.method import Method, Setup
from anneal_jax.experiments.pair_rounds import open_pair_rounds


class MethodEntry(NamedTuple):
    """A method and its properties.

    Attributes:
      open: prepares it for a run, and closes everything it opened.
      title: its name in reports; empty if its acquisition's name says more.
      asks: whether an oracle or a person is asked, in as many rounds as the settings want.
      is_answered: whether its bits are answers; otherwise they are the cost of class labels.
      can_err: whether its answers may be wrong or unsure; otherwise it uses true labels.
      can_finetune: whether it exists in the finetune regime.
      can_mix: whether it can ask choices and grids too.
    """

    open: Callable[[Setup], AbstractContextManager[Method]]
    title: str
    asks: bool = False
    is_answered: bool = True
    can_err: bool = True
    can_finetune: bool = True
    can_mix: bool = False


_TCAL = MethodEntry(label_baselines.tcal, "", is_answered=False, can_err=False, can_finetune=False)

METHODS: Mapping[str, MethodEntry] = {
    "all_pairs": MethodEntry(label_baselines.all_pairs, "all_pairs", can_err=False, can_finetune=False),
    "belief_ask": MethodEntry(open_belief_rounds, "belief_ask", asks=True, can_mix=True),
    "class_labels": MethodEntry(
        label_baselines.class_labels, "all class labels", is_answered=False, can_err=False
    ),
    "group_ask": MethodEntry(label_baselines.group_ask, "group_ask"),
    "pairs": MethodEntry(open_pair_rounds, "", asks=True),
    "random_labels": MethodEntry(
        label_baselines.random_labels, "random_labels", is_answered=False, can_err=False
    ),
    "tcal": _TCAL._replace(title="tcal"),
    "tcal_igarss": _TCAL._replace(title="tcal_igarss"),
    "tcal_random": _TCAL._replace(title="tcal_random"),
}


def asking_methods() -> list[str]:
    """Return the names of the methods that ask an oracle or a person."""
    return [name for name, method in METHODS.items() if method.asks]


def check_method(config: ExperimentConfig) -> None:
    """Raise an error if the configured method does not exist.

    Raises:
      ConfigError: it only exists in the frozen regime or with pairs alone, or asks nobody who could err.
    """
    method = METHODS[config.supervision]
    if not method.can_err and (config.oracle_wrong or config.oracle_unsure):
        raise ConfigError(
            f"supervision={config.supervision!r} uses the true labels and asks nobody, so oracle_wrong "
            "and oracle_unsure would change nothing; leave them at 0."
        )
    if config.questions != "pairs" and not method.can_mix:
        raise ConfigError(
            f"questions={config.questions!r} only exists with supervision='belief_ask', not "
            f"{config.supervision!r}; give that, or questions='pairs'."
        )
    if not method.can_finetune and config.regime != "frozen":
        raise ConfigError(
            f"supervision={config.supervision!r} only exists in the frozen regime; give regime='frozen'."
        )
