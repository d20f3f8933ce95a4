import contextlib
import dataclasses
import functools
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs the extra serve: pip install 'anneal-jax[serve]'")

import httpx

from anneal_jax.annotation.questions.cold_start import unit_directions
from anneal_jax.annotation.questions.plan import make_plan
from anneal_jax.annotation.search_by_example import spread_order
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.web.access import make_access
from anneal_jax.annotation.web.app import create_app
from anneal_jax.annotation.web.context import AppContext
from anneal_jax.annotation.web.pictures import TilePictures
from anneal_jax.annotation.web.uploads import UploadedImages
from anneal_jax.answers.store import AnswerStore
from anneal_jax.data.archives import open_archive
from anneal_jax.retrieval.index_reader import index_in_memory
from anneal_jax.training.projection import centring

NUM_CLASSES, NUM_TILES = 5, 60
HOST = "127.0.0.1:8765"


@pytest.fixture
def classes():
    return np.arange(NUM_TILES) % NUM_CLASSES


@pytest.fixture
def directions(classes):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(NUM_CLASSES, 16))
    return unit_directions((centres[classes] + 0.8 * rng.normal(size=(NUM_TILES, 16))).astype(np.float32))


@pytest.fixture(scope="session")
def tiles_folder(tmp_path_factory):
    """60 small tiles, one of them named to be read as markup."""
    root = tmp_path_factory.mktemp("tiles")
    rng = np.random.default_rng(1)
    for number in range(NUM_TILES):
        name = "a<img src=x onerror=alert(1)>.png" if number == 0 else f"tile{number:02d}.png"
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(root / name)
    return root


@pytest.fixture
def make_session(tmp_path, directions):
    """Open a session on the store of this test; called again, as after a restart."""

    def make(sentence="Same land use"):
        store = AnswerStore(tmp_path / "answers.sqlite", [f"tile{i}" for i in range(NUM_TILES)])
        if sentence:
            store.set_sentence(sentence)
        plan = make_plan(directions, seed=0, project=centring(directions))
        return AnnotationSession(store, directions, np.arange(NUM_TILES), plan)

    return make


def encode_by_colour(pixels):
    """A backbone of tests: the feature of a file is three numbers, its mean colour, and zeros."""
    return np.pad(pixels.mean(axis=(0, 1)).astype(np.float32) / 255, (0, 13))


@contextlib.contextmanager
def served(
    tiles_folder, session, allowed_hosts=(), learning=None, pictures=None, boxes=None, basemap_url=""
):
    archive = dataclasses.replace(open_archive(f"folder:{tiles_folder}"), boxes=boxes)
    pictures = pictures or TilePictures(archive)
    access = make_access("127.0.0.1", allowed_hosts, basemap_url=basemap_url)
    with ThreadPoolExecutor(1) as writer:
        uploads = UploadedImages(encode_by_colour, archive.digests())
        wall = functools.cache(lambda: spread_order(session.plan.embeddings, seed=0))
        index = index_in_memory(archive, session.plan.embeddings, workdir="workdir")
        context = AppContext(
            session,
            writer,
            pictures,
            learning,
            tuple(archive.ids),
            uploads,
            index,
            wall,
            basemap_url=basemap_url,
        )
        yield create_app(context, access), access
    pictures.close()


@pytest.fixture
def session(make_session):
    return make_session()


@pytest.fixture
def app(tiles_folder, session):
    with served(tiles_folder, session) as parts:
        yield parts


@pytest.fixture
def make_client():
    """Make a client as the page is one: it knows the token, and its origin is the server's."""
    import asyncio

    def make(parts):
        asgi, access = parts

        def request(method, path, *, headers=None, token=None, **options):
            async def go():
                transport = httpx.ASGITransport(asgi, raise_app_exceptions=True)
                async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as http:
                    own = {"origin": f"http://{HOST}"} if method == "POST" else {}
                    url = f"/{access.token if token is None else token}{path}"
                    return await http.request(method, url, headers={**own, **(headers or {})}, **options)

            return asyncio.run(go())

        request.access = access
        return request

    return make


@pytest.fixture
def client(app, make_client):
    return make_client(app)


@pytest.fixture
def processes(monkeypatch):
    """The processes that a test starts from here on, in order."""
    started = []

    class Listed(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Listed)
    return started


class IdleTrainer:
    """A trainer without a process: it never starts a job, and keeps nothing."""

    failure, is_busy = "", False

    def is_due(self, answer_ids, set_id):
        return False

    def kept(self):
        return None

    def keep(self):
        pass

    def close(self):
        pass
