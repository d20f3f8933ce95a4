"""Opens an annotation workdir as an index: its archive, embedded by the best model of its answers."""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from contextlib import closing

import jax
import numpy as np

from anneal_jax.annotation.known_results import with_answers
from anneal_jax.annotation.learning.trainer import FOLDER, kept_features, kept_model
from anneal_jax.annotation.standing_answers import StandingAnswers
from anneal_jax.annotation.web.pictures import open_pictures
from anneal_jax.answers.reading import Answered
from anneal_jax.answers.store import AnswerStore
from anneal_jax.config import ExperimentConfig
from anneal_jax.data.catalogue import TileFile
from anneal_jax.errors import WorkdirError
from anneal_jax.experiments.answered_workdir import EVERY_ROUND, answers_fingerprint, load_whole_archive
from anneal_jax.experiments.dataset import Dataset
from anneal_jax.files.workdir import is_annotated, read_config, read_inputs, read_pictures
from anneal_jax.retrieval.by_names import search_by_names
from anneal_jax.retrieval.embedder import Embedder, frozen_network, load_embedder
from anneal_jax.retrieval.filters import Conditions
from anneal_jax.retrieval.index_reader import TileIndex, index_in_memory, open_index
from anneal_jax.retrieval.originals import original
from anneal_jax.retrieval.results import Results
from anneal_jax.training.checkpoints import Checkpoint, RoundCheckpoints
from anneal_jax.training.factory import make_learner
from anneal_jax.training.projection import Projection, centring, of_checkpoint
from anneal_jax.types import FloatArray

_BY_FEATURES = (
    "Searched by the network's features alone: no model was trained on these answers yet, by the page "
    "or by launch/run.py."
)


@dataclasses.dataclass(frozen=True)
class Searched:
    """What a command searches: an index on disk, or a person's workdir.

    Attributes:
      index: the indexed tiles.
      load: loads the model that embeds query files, from its workdir.
      file_of: returns a tile of the index as a file.
      known: adds what answers say about results, if there are any.
    """

    index: TileIndex
    load: Callable[[str | pathlib.Path], Embedder]
    file_of: Callable[[int], TileFile]
    known: Callable[[Results], Results]

    def search(
        self,
        names: Sequence[str],
        k: int,
        *,
        conditions: Conditions,
        approximate: bool = False,
        checkpoint: str | pathlib.Path = "",
    ) -> list[Results]:
        """Return the k most similar tiles of each query; arguments and errors as `search_by_names`."""
        found = search_by_names(
            self.index,
            names,
            k,
            conditions=conditions,
            approximate=approximate,
            checkpoint=checkpoint,
            load=self.load,
        )
        return [self.known(results) for results in found]


def open_searched(folder: str | pathlib.Path, *, verify: str = "always", pretrained: str = "") -> Searched:
    """Open an index, or the workdir of a page that may be running at the same time; neither is written to.

    Args:
      folder: written by launch/embed.py, or the workdir of a page.
      verify: as for `open_index`; only for an index.
      pretrained: new path of the backbone's weights file, if it was moved.

    Raises:
      AnnealError: it is neither, or its archive has changed.
    """
    folder = pathlib.Path(folder).expanduser()
    if is_annotated(folder):
        return _open_workdir(folder.absolute(), pretrained)
    index = open_index(folder, verify=verify)
    load = functools.partial(load_embedder, pretrained=pretrained)
    return Searched(index, load, functools.partial(original, index), lambda results: results)


def _open_workdir(workdir: pathlib.Path, pretrained: str) -> Searched:
    config = read_config(workdir)
    if pretrained:
        config = dataclasses.replace(config, pretrained=pretrained)
    dataset, inputs = load_whole_archive(config), read_inputs(workdir)
    if inputs.get("tiles") != dataset.tiles_sha256:
        raise WorkdirError(
            f"the tiles of {config.archive} have changed since {workdir} was made; restore them, or open "
            "the page again in a new workdir."
        )
    names = dataset.archive.ids
    with closing(AnswerStore(workdir / "answers.sqlite", names, read_only=True)) as store:
        standing = StandingAnswers(store.standing(), names)
        answered, set_id = store.answered(EVERY_ROUND), store.present_set()
    features = _features(workdir, config, dataset)
    project, note = best_model(workdir, features, answered, standing, set_id)
    fingerprint = _fingerprint(project)
    index = index_in_memory(
        dataset.archive, project(features), workdir=workdir, fingerprint=fingerprint, notes=(note,)
    )

    def load(place: str | pathlib.Path) -> Embedder:
        if str(place) != str(workdir):
            raise WorkdirError(f"{workdir} is searched by its own model; leave out --checkpoint.")
        network = frozen_network(config, inputs)
        return Embedder(workdir, -1, fingerprint, project.similarity, project.mean, project.scale, network)

    pictures = open_pictures(dataset.archive, read_pictures(workdir), on_bad_image=config.on_bad_image)
    known = functools.partial(with_answers, standing=standing, names=names)
    return Searched(index, load, pictures.file, known)


def best_model(
    workdir: pathlib.Path,
    features: FloatArray,
    answered: Answered,
    standing: StandingAnswers,
    set_id: int,
) -> tuple[Projection, str]:
    """Return the model to search a workdir by, and a sentence about it.

    It is the model of launch/run.py if that was trained on exactly the standing answers; else the model of
    the page, if all of its answers still stand; else the centred features.

    Args:
      workdir: workdir of a page.
      features: float32[N, F], features of its archive.
      answered: the standing answers to train on.
      standing: all standing answers.
      set_id: id of their set.
    """
    newest = _newest_checkpoint(workdir / "checkpoints")
    if newest and (newest.provenance or {}).get("answers_sha256") == answers_fingerprint(answered):
        return of_checkpoint(
            newest.state
        ), f"Searched by the model that launch/run.py trained on all {len(answered.answers):,} answers."
    kept = kept_model(workdir / FOLDER, features)
    if kept and kept.snapshot.stands(set_id, standing):
        return kept.project, f"Searched by the page's model, trained on {kept.num_answers:,} answers."
    return centring(features), _BY_FEATURES


def _newest_checkpoint(folder: pathlib.Path) -> Checkpoint | None:
    if not folder.is_dir():  # the usual case, and orbax takes seconds to load
        return None
    with closing(RoundCheckpoints(folder, read_only=True)) as checkpoints:
        return checkpoints.restore_newest()


def _features(workdir: pathlib.Path, config: ExperimentConfig, dataset: Dataset) -> FloatArray:
    """Return the features float32[N, F] that the page wrote, or compute them if they are lost."""
    found = kept_features(workdir / FOLDER)
    if found is not None and len(found) == len(dataset.archive.ids):
        return found
    learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
    return learner.features(None)


def _fingerprint(project: Projection) -> str:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(project):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
