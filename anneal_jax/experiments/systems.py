"""Systems that can be compared, by name, and variants of them with different settings.

A system is an acquisition of pairs, `ACQUISITION+clustering`, or one of `RIVALS`. A variant adds settings
to its name, as in `mgue+clustering+margin=0.3+transitive=none`, which is safe in a shell, in a
comma-separated list and as the name of a folder.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from anneal_jax.acquisition.registry import ACQUISITIONS
from anneal_jax.config import SETTING_TYPES, ExperimentConfig
from anneal_jax.errors import ConfigError, nearest_hint, unknown_name

CLUSTERING = "+clustering"

RIVALS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "all_pairs": {"supervision": "all_pairs"},
        "belief_ask": {"supervision": "belief_ask"},
        "class_labels": {"supervision": "class_labels"},
        "group_ask": {"supervision": "group_ask"},
        "random_labels": {"supervision": "random_labels"},
        "srl_all": {"supervision": "class_labels", "group_loss": "srl"},
        "srl_groups": {"supervision": "group_ask", "group_loss": "srl"},
        "srl_labels": {"supervision": "random_labels", "group_loss": "srl"},
        "tcal": {"supervision": "tcal"},
        "tcal_igarss": {"supervision": "tcal_igarss"},
        "tcal_random": {"supervision": "tcal_random"},
    }
)
"""Systems other than acquisitions of pairs, and their settings."""

TRAINED_ONCE = ("class_labels", "srl_all", "all_pairs")
"""Systems trained on everything: a level instead of a curve; the first one present is the upper bound."""

SHARED_SETTINGS = (
    "archive",
    "labels",
    "on_bad_image",
    "backbone",
    "pretrained",
    "image_size",
    "regime",
    "train_fraction",
    "query_fraction",
    "keep_duplicates_together",
    "seed",
    "cache_dir",
)
"""Settings shared by all systems of a comparison: they determine tiles, features and split, without which
differences would not be paired."""

_NAMING_SETTINGS = ("supervision", "acquisition", "diversity")
_BEFORE_SETTING = re.compile(r"\+(?=[^+=]*=)")
_BOOLS = {"true": True, "false": False}


class System(NamedTuple):
    """A system, parsed from its name.

    Attributes:
      base: an acquisition, `ACQUISITION+clustering`, or one of `RIVALS`.
      settings: settings of the variant, sorted by name; empty for the plain system.
    """

    base: str
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The canonical name of this system: sorted settings, values as written by Python."""
        return self.base + "".join(f"+{name}={_write(value)}" for name, value in self.settings.items())


def system_names() -> list[str]:
    """Return every system that can be compared, without variants, sorted."""
    plain = list(ACQUISITIONS)
    return sorted([*plain, *(name + CLUSTERING for name in plain), *RIVALS])


def parse_system(text: str) -> System:
    """Parse a system's name.

    Args:
      text: such as `mgue+clustering` or `mgue+clustering+margin=0.3+candidate_factor=8`.

    Raises:
      ConfigError: there is no such system or setting (the message suggests the nearest), a value has the
        wrong type, or a variant may not change the setting.

    >>> parse_system("mgue+clustering+margin=.30+candidate_factor=8").name
    'mgue+clustering+candidate_factor=8+margin=0.3'
    """
    base, *assignments = _BEFORE_SETTING.split(text)
    if base not in system_names():
        raise unknown_name("system", base, system_names())
    settings: dict[str, Any] = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        _require_own(text, base, name)
        if name in settings:
            raise ConfigError(f"{text} contains {name} twice; give it once.")
        settings[name] = _read(text, name, value)
    return System(base, dict(sorted(settings.items())))


def base_of(name: str) -> str:
    """Return the system that a variant is based on.

    >>> base_of("class_labels+group_loss=srl")
    'class_labels'
    """
    return _BEFORE_SETTING.split(name)[0]


def configure(config: ExperimentConfig, system: str, seed: int) -> ExperimentConfig:
    """Return the settings of a cell: the recipe with only system and seed changed.

    Args:
      config: the recipe.
      system: see `parse_system`.
      seed: of the run.

    Raises:
      ConfigError: as in `parse_system`, or a value is out of range.

    >>> configure(ExperimentConfig(), "mgue+clustering", 3).diversity
    True
    >>> configure(ExperimentConfig(), "srl_all+steps=50", 3).group_loss
    'srl'
    """
    base, settings = parse_system(system)
    try:
        return dataclasses.replace(config, **_made_of(base), **settings, seed=seed)
    except ConfigError as error:
        raise ConfigError(f"{system}: {error}" if settings else str(error)) from error


def canonical_systems(config: ExperimentConfig, systems: Sequence[str]) -> list[str]:
    """Return the canonical names of the systems of a grid, each once.

    Args:
      config: the recipe.
      systems: see `parse_system`.

    Raises:
      ConfigError: as for `configure`, or two names mean the same settings under this recipe.

    >>> canonical_systems(ExperimentConfig(), ["random", "mgue+margin=.3", "random"])
    ['random', 'mgue+margin=0.3']
    """
    names = list(dict.fromkeys(parse_system(system).name for system in systems))
    by_settings: dict[ExperimentConfig, str] = {}
    for name in names:
        first = by_settings.setdefault(configure(config, name, 0), name)
        if first != name:
            raise ConfigError(
                f"{first} and {name} are the same settings under this recipe; give one of them."
            )
    return names


def reference_of(text: str | None, systems: Sequence[str]) -> str:
    """Return the canonical name of the system that the others of a grid are compared with.

    Args:
      text: the user's input; None means `random`, which need not be among the systems.
      systems: systems of the grid, from `canonical_systems`.

    Raises:
      ConfigError: as for `parse_system`, or the system has no curve in this grid.

    >>> reference_of("mgue+margin=.3", ["random", "mgue+margin=0.3"])
    'mgue+margin=0.3'
    """
    name = "random" if text is None else parse_system(text).name
    curves = [system for system in systems if base_of(system) not in TRAINED_ONCE]
    if text is not None and name not in curves:
        raise ConfigError(
            f"the reference {name} is not one of this comparison's curves "
            f"({', '.join(curves) or 'it has none'}); give one of them."
        )
    return name


def _made_of(base: str) -> Mapping[str, Any]:
    """Return the settings that a system's name implies."""
    if base in RIVALS:
        return RIVALS[base]
    return {
        "supervision": "pairs",
        "acquisition": base.removesuffix(CLUSTERING),
        "diversity": base.endswith(CLUSTERING),
    }


def _require_own(text: str, base: str, name: str) -> None:
    """Raise an error for a setting that a variant of this system cannot have."""
    if name not in SETTING_TYPES:
        raise ConfigError(f"{text}: there is no setting {name!r}{nearest_hint(name, SETTING_TYPES)}.")
    if name in SHARED_SETTINGS:
        raise ConfigError(
            f"{text}: all systems of a comparison share {name}; change it for all, {name}=VALUE"
        )
    if name in (*_NAMING_SETTINGS, *_made_of(base)):
        raise ConfigError(f"{text}: the system's name determines {name}; choose another system.")


def _read(text: str, name: str, value: str) -> Any:
    wanted = SETTING_TYPES[name]
    read: Callable[[str], Any] = _BOOLS.__getitem__ if wanted is bool else wanted
    try:
        return read(value)
    except (KeyError, ValueError) as error:
        kind = {bool: "true or false", int: "a whole number", float: "a number"}[wanted]
        raise ConfigError(f"{text}: {name}={value} cannot be used; give {kind}.") from error


def _write(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
