"""Open a workdir for a person, and serve the page until it is stopped."""

import functools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import cast

from threadpoolctl import threadpool_limits

from anneal_jax.annotation.learning.loop import LearningLoop
from anneal_jax.annotation.learning.trainer import FOLDER, TrainerProcess
from anneal_jax.annotation.questions.by_belief import BeliefQuestions
from anneal_jax.annotation.questions.cold_start import unit_directions
from anneal_jax.annotation.questions.plan import make_plan
from anneal_jax.annotation.search_by_example import spread_order
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.web.access import make_access
from anneal_jax.annotation.web.context import AppContext
from anneal_jax.annotation.web.listening import address, exposure, listen
from anneal_jax.annotation.web.page_address import (
    NEW_ADDRESS,
    PageAddress,
    is_distrusted,
    keep_page,
    read_page,
)
from anneal_jax.annotation.web.pictures import open_pictures
from anneal_jax.annotation.web.uploads import UploadedImages, backbone_encoder
from anneal_jax.answers.class_labels import give_labels
from anneal_jax.answers.store import AnswerStore
from anneal_jax.config import ExperimentConfig
from anneal_jax.data.catalogue import Catalogue
from anneal_jax.data.labels import labels_of_csv
from anneal_jax.data.splits import duplicate_groups
from anneal_jax.errors import ConfigError, how_to_install
from anneal_jax.experiments.answered_workdir import load_whole_archive, settle_annotation
from anneal_jax.experiments.belief_rounds import open_belief_session
from anneal_jax.experiments.registry import asking_methods
from anneal_jax.files import atomic
from anneal_jax.files.workdir import holder, locked
from anneal_jax.retrieval.index_reader import index_in_memory
from anneal_jax.training.factory import make_learner
from anneal_jax.training.projection import centring
from anneal_jax.training.start import settle_side, settle_start, start_warnings
from anneal_jax.types import Archive

LEFT_OUT = "left_out.txt"
"""The file in a workdir that lists the skipped files, one a line."""

LABELLER = "class labels"
"""Who said what a labels file says."""


@contextmanager
def opened(
    config: ExperimentConfig,
    workdir: pathlib.Path,
    *,
    pictures: str = "",
    labels: str = "",
    sentence: str = "",
    learns: bool = True,
    basemap_url: str = "",
) -> Iterator[AppContext]:
    """Lock a workdir, open its store and archive, and prepare the first questions.

    Args:
      config: the settings.
      workdir: made where absent.
      pictures: archive of the tiles to look at, where that of the settings holds vectors.
      labels: CSV of class labels to begin with; empty is none.
      sentence: what "similar" means; empty asks the first person, or keeps what was said.
      learns: whether a process in the background trains on the answers.
      basemap_url: see `AppContext`.

    Raises:
      AnnealError: the workdir is in use, or something that the settings name cannot be used.
    """
    asking = asking_methods()
    if config.regime != "frozen" or config.supervision not in asking:
        raise ConfigError(
            "a person is asked with regime='frozen', since a whole network learns too slowly between two "
            f"answers, and supervision={' or '.join(map(repr, asking))}, which the page asks alike."
        )
    with ExitStack() as stack:
        stack.enter_context(locked(workdir))
        config = settle_start(config, workdir)
        dataset = load_whole_archive(config)
        config = settle_side(config, dataset.archive)
        shown = open_pictures(dataset.archive, pictures, on_bad_image=config.on_bad_image)
        stack.callback(shown.close)
        learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
        settle_annotation(workdir, config, dataset, pictures=pictures)
        features = learner.features(None)
        directions = unit_directions(features)
        store = stack.enter_context(closing(AnswerStore(workdir / "answers.sqlite", dataset.archive.ids)))
        chosen = go_to_set(store, sentence) if sentence else ""
        left_out = list_left_out(workdir, dataset.archive)
        warnings = start_warnings(config)
        notes = [*warnings, *dataset.archive.notes, *filter(None, [chosen])]
        notes += [take_labels(store, dataset.archive, labels)] if labels else []
        digests = dataset.archive.digests()
        by_belief = BeliefQuestions(open_belief_session(config, dataset, learner))
        # Threads of a matrix product that wait for each other on busy cores keep answers waiting.
        stack.enter_context(threadpool_limits(1))
        plan = make_plan(directions, seed=config.seed, project=centring(features), by_belief=by_belief)
        session = AnnotationSession(store, directions, duplicate_groups(digests), plan)
        learning = None
        if learns:
            trainer = TrainerProcess(workdir / FOLDER, config, features)
            learning = LearningLoop(session, trainer, workdir / FOLDER, seed=config.seed)
            stack.callback(learning.close)
        uploads = UploadedImages(backbone_encoder(config, dataset.archive.kind), digests)
        yield AppContext(
            session=session,
            writer=stack.enter_context(ThreadPoolExecutor(1)),
            pictures=shown,
            learning=learning,
            names=tuple(dataset.archive.ids),
            uploads=uploads,
            tiles=index_in_memory(dataset.archive, directions, workdir=workdir),
            wall=functools.cache(lambda: spread_order(directions, seed=config.seed)),
            notes=tuple(notes),
            left_out=left_out,
            warnings=tuple(warnings),
            basemap_url=basemap_url,
        )


def go_to_set(store: AnswerStore, sentence: str) -> str:
    """Go to the set of answers of a sentence, or begin it, and return a sentence that says which.

    It is empty where nothing was answered yet: there is nothing to mix up.
    """
    num_sets = len(store.sentences())
    store.set_sentence(sentence)
    sets = store.sets()
    (present,) = (found for found in sets if found.is_present)
    if not any(found.num_answers for found in sets):
        return ""
    if len(store.sentences()) > num_sets:
        return f"A new set of answers begins, {present.sentence!r}; the others stay under Sets on the page."
    return f"Answers go to the set {present.sentence!r}, which has {present.num_answers:,}."


def list_left_out(workdir: pathlib.Path, archive: Archive) -> tuple[str, ...]:
    """Write the names of an archive's skipped files into a workdir, and return them."""
    left_out = cast(Catalogue, archive).left_out
    path = workdir / LEFT_OUT
    if left_out:
        atomic.write_text(path, "\n".join(map(ascii, left_out)) + "\n")
    else:
        path.unlink(missing_ok=True)
    return left_out


def take_labels(store: AnswerStore, archive: Archive, path: str) -> str:
    """Store the class labels of a CSV file as answers, and return a sentence about them.

    Raises:
      ArchiveError: the file cannot be used.
      ConfigError: nobody has said yet what "similar" means.
    """
    if not (store.is_settled() or store.standing()):
        raise ConfigError(
            "class labels answer a question; say it, as in --sentence='Same land use', beside --labels."
        )
    labels = labels_of_csv(cast(Catalogue, archive), path)
    name = pathlib.Path(path).name
    before = store.tally().bits_spent
    num_labels = give_labels(store, labels, annotator=LABELLER, source=name)
    bits = store.tally().bits_spent - before
    return f"{num_labels:,} class labels of {name} stand among the answers ({bits:,.0f} bits of them new)."


def serve(
    config: ExperimentConfig,
    workdir: pathlib.Path,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    allowed_hosts: Sequence[str] = (),
    frames: Sequence[str] = (),
    pictures: str = "",
    labels: str = "",
    sentence: str = "",
    basemap_url: str = "",
    on_ready: Callable[[str, list[str]], object],
) -> None:
    """Serve the page until Ctrl-C.

    Args:
      config: the settings.
      workdir: for the answers and all else; made where absent.
      host: address to listen at.
      port: 0 takes any that is free; None that of the last time, or the next free one from 8765 on.
      allowed_hosts: more names that the page is called by, such as that of a tunnel or a notebook.
      frames: more origins whose pages may hold this one in a frame, as a notebook's.
      pictures: archive of the tiles to look at, where that of the settings holds vectors.
      labels: CSV (`id,label`) of class labels to begin with.
      sentence: what "similar" means; empty asks the first person.
      basemap_url: of tiles of a map server, with {z}, {x} and {y} in it; empty asks nobody for any.
      on_ready: gets the page's address, and what the user should read beside it, when it can be opened.

    Raises:
      AnnealError: as `opened`; or the address cannot be listened at, or one of the names is none.
    """
    try:
        import uvicorn

        from anneal_jax.annotation.web.app import create_app
    except ImportError as error:
        raise ConfigError(
            f"the page needs the extra serve; {how_to_install('serve')} brings it."
        ) from error
    access = make_access(host, allowed_hosts, frames, basemap_url)
    listener = listen(host, read_page(workdir) if port is None else port)
    with (
        listener,
        opened(
            config,
            workdir,
            pictures=pictures,
            labels=labels,
            sentence=sentence,
            basemap_url=basemap_url,
        ) as context,
    ):
        news = [NEW_ADDRESS] if is_distrusted(workdir) else []
        access = access._replace(token=(read_page(workdir) or access).token)
        bound = listener.getsockname()[1]
        url = address(access, host, bound)
        keep_page(workdir, PageAddress(access.token, url, holder(workdir)))
        on_ready(
            url, [*context.notes, *_whole_list(workdir, context), *news, *exposure(access, host, bound)]
        )
        settings = uvicorn.Config(
            create_app(context, access),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
        uvicorn.Server(settings).run(sockets=[listener])


def _whole_list(workdir: pathlib.Path, context: AppContext) -> list[str]:
    names = "the name" if len(context.left_out) == 1 else f"all {len(context.left_out):,} names"
    place = f"{names} under Details on the page, and in {workdir / LEFT_OUT}."
    return [place[0].upper() + place[1:]] if context.left_out else []
