"""A restored checkpoint as one function from tiles to embeddings.

  from anneal_jax import load_embedder

  embedder = load_embedder("runs/ucm_frozen")
  embeddings = embedder.embed(tiles)

`tiles` are uint8[N, H, W, 3] of any size; `embeddings` float32[N, D] of unit norm, whose products are
cosines.
"""

import dataclasses
import hashlib
import json
import logging
import pathlib
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from anneal_jax.config import ExperimentConfig, config_from_mapping
from anneal_jax.data.bands import holds_vectors
from anneal_jax.data.tiles import squash_tile
from anneal_jax.errors import ArchiveError, WeightsError, WorkdirError
from anneal_jax.files.workdir import read_config, read_inputs
from anneal_jax.retrieval.manifest import ModelCard
from anneal_jax.training.checkpoints import Checkpoint, RoundCheckpoints
from anneal_jax.training.encoding import default_batch_size, encode, encode_batches
from anneal_jax.training.features import CODE_VERSION, decoded_ahead
from anneal_jax.training.head_steps import embedding_dim
from anneal_jax.training.network import (
    Network,
    input_size,
    load_network,
    prepared_backbone,
)
from anneal_jax.training.projection import Projection
from anneal_jax.types import Archive, FloatArray, Params

_ROWS_AT_ONCE = 4_096  # features held in memory before the heads

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Embedder:
    """A trained model that maps tiles, or precomputed vectors, to embeddings.

    Attributes:
      workdir: workdir of the run.
      round_index: round of the model.
      fingerprint: SHA-256 of everything that an embedding depends on besides its tile; equal models have
        equal fingerprints, whatever their workdirs.
      similarity: parameters of the similarity network; None before there is a model, which gives centred
        features.
      mean: float32[F], and
      scale: float32[F], which standardise features.
      network: maps a tile to a feature; None if the run used precomputed vectors.
    """

    workdir: pathlib.Path
    round_index: int
    fingerprint: str
    similarity: Params | None
    mean: FloatArray
    scale: FloatArray
    network: Network | None

    @property
    def kind(self) -> str:
        """Kind of the input: "image" or "vector", as in `Archive.kind`."""
        return "image" if self.network else "vector"

    @property
    def dim(self) -> int:
        """D, numbers per embedding."""
        return len(self.mean) if self.similarity is None else embedding_dim(self.similarity)

    def model_card(self, dtype: str = "float16") -> ModelCard:
        """Return the description of this model for an index of its embeddings.

        Args:
          dtype: dtype of the stored vectors, `float16` or `float32`.
        """
        return ModelCard(self.fingerprint, self.dim, dtype, str(self.workdir))

    def embed(self, images: np.ndarray | Sequence[np.ndarray]) -> FloatArray:
        """Embed tiles in memory.

        Args:
          images: uint8[N, H, W, S], RGB unless the run's archive has other bands, or a sequence of uint8[H,
            W, S] of different sizes; they are resized to the network's size like those of an archive. If
            `kind` is "vector": float[N, F].

        Returns:
          float32[N, D], unit norm.

        Raises:
          ArchiveError: `images` has another shape or type.
        """
        if self.network is None:
            return self._of_features(self._checked_vectors(np.asarray(images)))
        side, resampling = self.network.image_size, self.network.backbone.resampling
        num_bands = len(self.network.backbone.mean)
        squashed = [squash_tile(_checked_tile(tile, num_bands), side, resampling) for tile in images]
        if not squashed:
            return np.empty((0, self.dim), np.float32)
        features = encode(self.network.backbone, self.network.variables, np.stack(squashed))
        return self._of_features(features)

    def embed_archive(self, archive: Archive, rows: npt.NDArray[np.integer]) -> FloatArray:
        """Embed tiles of an archive; memory holds the embeddings, but never all tiles.

        Args:
          archive: an archive of images or vectors, depending on `kind`.
          rows: int[M], rows of the tiles.

        Returns:
          float32[M, D], unit norm.

        Raises:
          ArchiveError: the archive has the other kind, its vectors have another length, or a tile cannot be
            read.
        """
        if archive.kind != self.kind:
            raise ArchiveError(
                f"{archive.spec} holds {archive.kind}s, but the model in {self.workdir} was trained on "
                f"{self.kind}s; give an archive of the same kind."
            )
        starts = range(0, len(rows), _ROWS_AT_ONCE)
        parts = [self._of_rows(archive, rows[start : start + _ROWS_AT_ONCE]) for start in starts]
        return np.concatenate([np.empty((0, self.dim), np.float32), *parts])

    def _of_rows(self, archive: Archive, rows: npt.NDArray[np.integer]) -> FloatArray:
        if self.network is None:
            return self._of_features(self._checked_vectors(archive.load(rows, 0)))
        size = default_batch_size()
        backbone, variables = self.network.backbone, self.network.variables
        tiles = decoded_ahead(archive, rows, self.network.image_size, size, backbone.resampling)
        return self._of_features(
            encode_batches(backbone, variables, tiles, num_tiles=len(rows), batch_size=size)
        )

    def _of_features(self, features: FloatArray) -> FloatArray:
        if not np.isfinite(features).all():
            raise ArchiveError("a feature is nan or infinite; check the given tiles or vectors.")
        return Projection(self.mean, self.scale, self.similarity)(features)

    def _checked_vectors(self, vectors: np.ndarray) -> FloatArray:
        if vectors.ndim != 2 or vectors.shape[1] != len(self.mean) or vectors.dtype.kind != "f":
            raise ArchiveError(
                f"the vectors are {vectors.dtype}{list(vectors.shape)}; the model in {self.workdir} takes "
                f"float[N, {len(self.mean)}], as it was trained on."
            )
        return vectors.astype(np.float32)


def load_embedder(workdir: str | pathlib.Path, *, pretrained: str = "") -> Embedder:
    """Restore the newest intact model of a run.

    It may have been trained on another machine, with other devices or another Python version. A damaged
    round causes a warning, and the previous one is used. The workdir is only read.

    Args:
      workdir: folder of a run.
      pretrained: current path of the weights file of the run's backbone; by default its original path.

    Raises:
      WorkdirError: the folder is not that of a run, or has no intact checkpoint.
      WeightsError: the weights file is missing, or not the one used in the run.
    """
    workdir = pathlib.Path(workdir).expanduser().absolute()
    found = _restore(workdir)
    if found.provenance is None:
        config, inputs = read_config(workdir), read_inputs(workdir)
    else:
        config, inputs = config_from_mapping(found.provenance["config"]), found.provenance["inputs"]
    if pretrained:
        config = dataclasses.replace(config, pretrained=pretrained)
    params, mean, scale = (found.state[name] for name in ("params", "feature_mean", "feature_scale"))
    network, weights = _network(config, inputs, found)
    # The state contains the parameters of a network that was trained.
    learnt = {"params": params if config.regime == "finetune" else params["similarity"]}
    return Embedder(
        workdir=workdir,
        round_index=found.round_index,
        fingerprint=_fingerprint({**learnt, "mean": mean, "scale": scale}, weights, network),
        similarity=params["heads"]["similarity"] if config.regime == "finetune" else params["similarity"],
        mean=mean,
        scale=scale,
        network=network,
    )


def _restore(workdir: pathlib.Path) -> Checkpoint:
    with closing(RoundCheckpoints(workdir / "checkpoints", read_only=True)) as checkpoints:
        found = checkpoints.restore_newest()
    if found is None:
        raise WorkdirError(
            f"{workdir} has no intact checkpoint; give the workdir of a run, or run its command "
            "again, which trains from the stored answers."
        )
    return found


def _network(
    config: ExperimentConfig, inputs: dict[str, str], found: Checkpoint
) -> tuple[Network | None, str]:
    """Return the run's backbone, and a text identifying its weights; neither for precomputed vectors."""
    if config.regime == "finetune" and not holds_vectors(config.archive):
        backbone = prepared_backbone(config, inputs)
        return Network(backbone, found.state["params"]["backbone"], "", input_size(config, inputs)), ""
    network = frozen_network(config, inputs)
    if network is None:
        return None, ""
    if config.pretrained == "none":
        _warn_of_other_draws(config, network, found)
        return network, f"random, seed {config.seed}"
    return network, network.digest


def frozen_network(config: ExperimentConfig, inputs: dict[str, str]) -> Network | None:
    """Return the network that computes the features of the frozen regime; None for precomputed vectors.

    Args:
      config: the settings of a workdir.
      inputs: its fingerprints.

    Raises:
      WeightsError: the weights file is missing, or not the one that computed the features.
    """
    if holds_vectors(config.archive):
        return None
    network = load_network(config, inputs)
    if config.pretrained != "none" and network.digest != inputs["weights"]:
        raise WeightsError(
            f"{config.pretrained} is not the weights file that the run was trained on; give that one, "
            f"whose SHA-256 begins with {inputs['weights'][:12]}."
        )
    return network


def _warn_of_other_draws(config: ExperimentConfig, network: Network, found: Checkpoint) -> None:
    made_by = (found.provenance or {}).get("versions", {}).get("jax", "another version")
    if made_by != jax.__version__ and jax.tree.leaves(network.variables):
        _log.warning(
            "backbone %s has random weights, drawn again from seed %d by jax %s; the run drew them by "
            "jax %s, which may differ.",
            *(config.backbone, config.seed, jax.__version__, made_by),
        )


def _fingerprint(state: dict[str, Any], weights: str, network: Network | None) -> str:
    settings = {
        "backbone": repr(network.backbone) if network else "",
        "image_size": network.image_size if network else 0,
        "weights": weights,
        "code_version": CODE_VERSION,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path, leaf in jax.tree.leaves_with_path(state):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def _checked_tile(tile: Any, num_bands: int) -> npt.NDArray[np.uint8]:
    array = np.asarray(tile)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != num_bands or not array.size:
        wanted = f"uint8[N, H, W, {num_bands}]{', RGB' if num_bands == 3 else ''}"
        raise ArchiveError(f"a tile is {array.dtype}{list(array.shape)}; give {wanted}.")
    return array
