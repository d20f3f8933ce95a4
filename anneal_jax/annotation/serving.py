"""Open a workdir for a person, and serve the page until it is stopped."""

import pathlib
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple

from anneal_jax.annotated import load_whole_archive, settle_annotation
from anneal_jax.annotation.background import BackgroundTrainer
from anneal_jax.annotation.desk import Desk
from anneal_jax.annotation.dropped import DroppedTiles, backbone_encoder
from anneal_jax.annotation.guide import make_guide
from anneal_jax.annotation.learning import Learning
from anneal_jax.annotation.pictures import TilePictures
from anneal_jax.annotation.projection import centring
from anneal_jax.annotation.questions import unit_directions
from anneal_jax.annotation.safety import LOOPBACK, Access, make_access
from anneal_jax.config import ExperimentConfig
from anneal_jax.data.splits import duplicate_groups
from anneal_jax.errors import ConfigError
from anneal_jax.pairs.store import AnswerStore
from anneal_jax.problem import make_learner
from anneal_jax.workdir import locked

PORT = 8765

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
    config: ExperimentConfig, workdir: pathlib.Path, *, sentence: str = "", learns: bool = True
) -> Iterator[Opened]:
    """Lock a workdir, open its store and archive, and prepare the first questions.

    Args:
      config: the settings.
      workdir: made where absent.
      sentence: what "similar" means; empty asks the first person, or keeps what was said.
      learns: whether a process in the background trains on the answers.

    Raises:
      AnnealError: the workdir is in use, or something that the settings name cannot be used.
    """
    if config.regime != "frozen" or config.supervision != "pairs":
        raise ConfigError(
            "a person is asked with regime='frozen' and supervision='pairs': a whole network learns too "
            "slowly between two answers."
        )
    with ExitStack() as stack:
        stack.enter_context(locked(workdir))
        problem = load_whole_archive(config)
        if problem.archive.kind != "image":
            raise ConfigError(
                f"{config.archive} holds vectors, which nobody can look at; give folder:PATH."
            )
        learner = make_learner(config, problem, with_classifier=False)
        settle_annotation(workdir, config, problem)
        features = learner.features(None)
        directions = unit_directions(features)
        store = stack.enter_context(closing(AnswerStore(workdir / "answers.sqlite", problem.archive.ids)))
        if sentence:
            store.set_sentence(sentence)
        digests = problem.archive.digests()
        guide = make_guide(directions, seed=config.seed, project=centring(features))
        desk = Desk(store, directions, duplicate_groups(digests), guide)
        learning = None
        if learns:
            trainer = BackgroundTrainer(workdir / _FOLDER, config, features)
            learning = Learning(desk, trainer, workdir / _FOLDER, seed=config.seed)
            stack.callback(learning.close)
        pictures = TilePictures(problem.archive)
        stack.callback(pictures.close)
        names, notes = tuple(problem.archive.ids), tuple(problem.archive.notes)
        yield Opened(
            desk, learning, pictures, names, DroppedTiles(backbone_encoder(config), digests), notes
        )


def serve(
    config: ExperimentConfig,
    workdir: pathlib.Path,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    allowed_hosts: Sequence[str] = (),
    sentence: str = "",
    tell: Callable[[str], object] = print,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
      config: the settings.
      workdir: for the answers and all else; made where absent.
      host: address to listen at.
      port: 0 takes any that is free.
      allowed_hosts: more names that the page is called by, such as that of a tunnel or a notebook.
      sentence: what "similar" means; empty asks the first person.
      tell: gets what the user should read: the page's address, and what is exposed.

    Raises:
      AnnealError: as `opened`; or the address cannot be listened at.
    """
    try:
        import uvicorn

        from anneal_jax.annotation.app import create_app
        from anneal_jax.annotation.office import Office
    except ImportError as error:
        raise ConfigError("the page needs the extra serve: pip install 'anneal-jax[serve]'.") from error
    listener = _listen(host, port)
    with listener, opened(config, workdir, sentence=sentence) as parts, ThreadPoolExecutor(1) as writer:
        access = make_access(host, allowed_hosts)
        office = Office(parts.desk, writer, parts.pictures, parts.learning, parts.names, parts.dropped)
        for line in (*parts.notes, *start_lines(access, host, listener.getsockname()[1])):
            tell(line)
        settings = uvicorn.Config(
            create_app(office, access),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
        uvicorn.Server(settings).run(sockets=[listener])


def start_lines(access: Access, host: str, port: int) -> list[str]:
    """Return the page's address, and a sentence about who can reach it."""
    shown = host if host in LOOPBACK or host not in ("0.0.0.0", "::") else socket.gethostname()  # noqa: S104
    shown = f"[{shown}]" if ":" in shown else shown
    lines = [f"Open http://{shown}:{port}/{access.token}/ (Ctrl-C ends; every answer with a tick is kept)."]
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
            f"cannot listen at {host}:{port} ({error.strerror}); give another --port, or 0."
        ) from error
    return listener
