"""Opens a workdir for annotation and serves the page until it is stopped."""

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
"""The file in a workdir that lists the skipped files, one per line."""

LABELLER = "class labels"
"""The annotator recorded for answers from a labels file."""


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
      workdir: created if missing.
      pictures: archive of the tiles to look at, if that of the settings holds vectors.
      labels: CSV of class labels to start from; empty for none.
      sentence: what "similar" means; empty keeps the current sentence, or asks the first person.
      learns: whether a background process trains on the answers.
      basemap_url: see `AppContext`.

    Raises:
      AnnealError: the workdir is in use, or something named in the settings cannot be used.
    """
    asking = asking_methods()
    if config.regime != "frozen" or config.supervision not in asking:
        raise ConfigError(
            "the page needs regime='frozen', because a whole network learns too slowly between two "
            f"answers, and supervision={' or '.join(map(repr, asking))}."
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
        # Threads of a matrix product that wait for each other on busy cores would delay answers.
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
    """Switch to the set of answers of a sentence, or begin it; return a message that says which.

    The message is empty if there are no answers yet, because nothing can be mixed up.
    """
    num_sets = len(store.sentences())
    store.set_sentence(sentence)
    sets = store.sets()
    (present,) = (found for found in sets if found.is_present)
    if not any(found.num_answers for found in sets):
        return ""
    if len(store.sentences()) > num_sets:
        return f"Answers go to a new set, {present.sentence!r}; the page lists the other sets under Sets."
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
    """Store the class labels of a CSV file as answers, and return a message about them.

    Raises:
      ArchiveError: the file cannot be used.
      ConfigError: nobody has defined "similar" yet.
    """
    if not (store.is_settled() or store.standing()):
        raise ConfigError(
            "class labels are answers to a question; add it to --labels, as in --sentence='Same land use'."
        )
    labels = labels_of_csv(cast(Catalogue, archive), path)
    name = pathlib.Path(path).name
    before = store.tally().bits_spent
    num_labels = give_labels(store, labels, annotator=LABELLER, source=name)
    bits = store.tally().bits_spent - before
    return f"{num_labels:,} class labels of {name} are stored as answers ({bits:,.0f} bits are new)."


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
      workdir: folder for the answers and all other files; created if missing.
      host: address to listen on.
      port: 0 takes any free one; None the last one used, or else the first free one from 8765 on.
      allowed_hosts: further host names of the page, such as that of a tunnel or a notebook.
      frames: further origins whose pages may show this one in a frame, such as a notebook's.
      pictures: archive of the tiles to look at, if that of the settings holds vectors.
      labels: CSV (`id,label`) of class labels to start from.
      sentence: what "similar" means; if empty, the page asks the first person.
      basemap_url: address of a map server's tiles, with {z}, {x} and {y}; empty if no server is used.
      on_ready: called with the page's address and notes for the user, once the page can be opened.

    Raises:
      AnnealError: as for `opened`; or the address cannot be listened on, or a host name is invalid.
    """
    try:
        import uvicorn

        from anneal_jax.annotation.web.app import create_app
    except ImportError as error:
        raise ConfigError(
            f"the page needs the extra serve; install it with {how_to_install('serve')}."
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
