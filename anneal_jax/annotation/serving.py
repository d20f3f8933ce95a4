"""Open a workdir for a person, and serve the page until it is stopped."""

import pathlib
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple, cast

from threadpoolctl import threadpool_limits

from anneal_jax.annotated import load_whole_archive, settle_annotation
from anneal_jax.annotation.background import BackgroundTrainer
from anneal_jax.annotation.belief_source import BeliefQuestions
from anneal_jax.annotation.desk import Desk
from anneal_jax.annotation.dropped import DroppedTiles, backbone_encoder
from anneal_jax.annotation.guide import make_guide
from anneal_jax.annotation.learning import Learning
from anneal_jax.annotation.pictures import TilePictures, open_pictures
from anneal_jax.annotation.projection import centring
from anneal_jax.annotation.questions import unit_directions
from anneal_jax.annotation.safety import LOOPBACK, Access, make_access, shown_host
from anneal_jax.config import ExperimentConfig
from anneal_jax.data.catalogue import Catalogue
from anneal_jax.data.labels import labels_of_csv
from anneal_jax.data.splits import duplicate_groups
from anneal_jax.errors import ConfigError, how_to_install, reason_of
from anneal_jax.experiment import ASKING
from anneal_jax.interview import open_interview
from anneal_jax.pairs.class_groups import give_labels
from anneal_jax.pairs.store import AnswerStore
from anneal_jax.problem import make_learner
from anneal_jax.types import Archive
from anneal_jax.workdir import locked

PORT = 8765

LABELLER = "class labels"
"""Who said what a labels file says."""

_FOLDER = "annotation"


class Opened(NamedTuple):
    """A workdir that is open for a person.

    Attributes:
      desk: puts the questions.
      learning: what happens in the background; None where nothing is trained.
      pictures: of the tiles.
      names: of the tiles.
      dropped: files that people search by.
      notes: sentences for the user.
    """

    desk: Desk
    learning: Learning | None
    pictures: TilePictures
    names: tuple[str, ...]
    dropped: DroppedTiles
    notes: tuple[str, ...]


@contextmanager
def opened(
    config: ExperimentConfig,
    workdir: pathlib.Path,
    *,
    pictures: str = "",
    labels: str = "",
    sentence: str = "",
    learns: bool = True,
) -> Iterator[Opened]:
    """Lock a workdir, open its store and archive, and prepare the first questions.

    Args:
      config: the settings.
      workdir: made where absent.
      pictures: archive of the tiles to look at, where that of the settings holds vectors.
      labels: CSV of class labels to begin with; empty is none.
      sentence: what "similar" means; empty asks the first person, or keeps what was said.
      learns: whether a process in the background trains on the answers.

    Raises:
      AnnealError: the workdir is in use, or something that the settings name cannot be used.
    """
    if config.regime != "frozen" or config.supervision not in ASKING:
        raise ConfigError(
            "a person is asked with regime='frozen', since a whole network learns too slowly between two "
            f"answers, and supervision={' or '.join(map(repr, ASKING))}, which the page asks alike."
        )
    with ExitStack() as stack:
        stack.enter_context(locked(workdir))
        # Threads of a matrix product that wait for each other on busy cores keep answers waiting.
        stack.enter_context(threadpool_limits(1))
        problem = load_whole_archive(config)
        shown = open_pictures(problem.archive, pictures, on_bad_image=config.on_bad_image)
        stack.callback(shown.close)
        learner = make_learner(config, problem, with_classifier=False)
        settle_annotation(workdir, config, problem, pictures=pictures)
        features = learner.features(None)
        directions = unit_directions(features)
        store = stack.enter_context(closing(AnswerStore(workdir / "answers.sqlite", problem.archive.ids)))
        if sentence:
            store.set_sentence(sentence)
        notes = [*problem.archive.notes, *([take_labels(store, problem.archive, labels)] if labels else [])]
        digests = problem.archive.digests()
        by_belief = BeliefQuestions(open_interview(config, problem, learner))
        guide = make_guide(directions, seed=config.seed, project=centring(features), by_belief=by_belief)
        desk = Desk(store, directions, duplicate_groups(digests), guide)
        learning = None
        if learns:
            trainer = BackgroundTrainer(workdir / _FOLDER, config, features)
            learning = Learning(desk, trainer, workdir / _FOLDER, seed=config.seed)
            stack.callback(learning.close)
        dropped = DroppedTiles(backbone_encoder(config, problem.archive.kind), digests)
        yield Opened(desk, learning, shown, tuple(problem.archive.ids), dropped, tuple(notes))


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
    port: int = PORT,
    allowed_hosts: Sequence[str] = (),
    frames: Sequence[str] = (),
    pictures: str = "",
    labels: str = "",
    sentence: str = "",
    tell: Callable[[str, list[str]], object],
) -> None:
    """Serve the page until Ctrl-C.

    Args:
      config: the settings.
      workdir: for the answers and all else; made where absent.
      host: address to listen at.
      port: 0 takes any that is free.
      allowed_hosts: more names that the page is called by, such as that of a tunnel or a notebook.
      frames: more origins whose pages may hold this one in a frame, as a notebook's.
      pictures: archive of the tiles to look at, where that of the settings holds vectors.
      labels: CSV (`id,label`) of class labels to begin with.
      sentence: what "similar" means; empty asks the first person.
      tell: gets the page's address, and what the user should read beside it, when it can be opened.

    Raises:
      AnnealError: as `opened`; or the address cannot be listened at, or one of the names is none.
    """
    try:
        import uvicorn

        from anneal_jax.annotation.app import create_app
        from anneal_jax.annotation.office import Office
    except ImportError as error:
        raise ConfigError(
            f"the page needs the extra serve; {how_to_install('serve')} brings it."
        ) from error
    access = make_access(host, allowed_hosts, frames)
    listener = _listen(host, port)
    with (
        listener,
        opened(config, workdir, pictures=pictures, labels=labels, sentence=sentence) as parts,
        ThreadPoolExecutor(1) as writer,
    ):
        office = Office(parts.desk, writer, parts.pictures, parts.learning, parts.names, parts.dropped)
        url = address(access, host, listener.getsockname()[1])
        tell(url, [*parts.notes, *exposure(access, host, listener.getsockname()[1])])
        settings = uvicorn.Config(
            create_app(office, access),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
        uvicorn.Server(settings).run(sockets=[listener])


def address(access: Access, host: str, port: int) -> str:
    """Return the page's address."""
    shown = shown_host(host)
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}/{access.token}/"


def exposure(access: Access, host: str, port: int) -> list[str]:
    """Return sentences about who can reach the page, besides programs of this machine."""
    lines = []
    if host not in LOOPBACK:
        lines.append(
            f"Exposed: whoever reaches {host}:{port} and has this address sees the tiles and can answer, "
            "without encryption."
        )
    if access.outer_hosts:
        lines.append(f"Also called, and framed, as {', '.join(access.outer_hosts)}.")
    return lines


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()  # now, so that the printed address works at once
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen at {host}:{port} ({reason_of(error)}); give another --port, or 0."
        ) from error
    return listener
