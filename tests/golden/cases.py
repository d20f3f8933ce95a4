"""What the golden files hold: the runs, searches and replies, as values that JSON can hold.

Times, random keys and paths of a machine are left out; everything else is a function of the seeds.
"""

import asyncio
import dataclasses
import json
import subprocess
import sys
from contextlib import closing

import jax
import numpy as np

from anneal_jax.annotation.learning import job
from anneal_jax.annotation.questions.plan import MODES
from anneal_jax.annotation.web.access import make_access
from anneal_jax.annotation.web.app import create_app, page_routes
from anneal_jax.annotation.web.server import opened
from anneal_jax.answers.reading import Answered
from anneal_jax.answers.store import AnswerStore
from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive, require_classes
from anneal_jax.experiments.round_log import read_rounds, without_times
from anneal_jax.experiments.run import run_experiment
from anneal_jax.pairs.canonical import count_pairs, pairs_of_ranks
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.search import search_exact
from anneal_jax.training.checkpoints import RoundCheckpoints
from tests.annotation.driving import look
from tests.conftest import ROOT
from tests.retrieval.small_index import DIM

HERE = ROOT / "tests" / "golden"
VECTORS = "embeddings:tests/golden/vectors.npz"
"""Four noisy classes; relative to the root of the project, where every case runs."""

PAGE = {"archive": "digits", "backbone": "pixels", "supervision": "belief_ask", "steps": 50}
"""Settings of the workdir that a person answers."""

HOST = "127.0.0.1:8765"
NUM_ANSWERS = 25
"""Of the scripted person, in each mode of the page."""

PAIRS = ("random", "mgue", "bcgue", "badge", "coreset", "typicality")
BASELINES = (
    "class_labels",
    "random_labels",
    "tcal",
    "tcal_igarss",
    "tcal_random",
    "group_ask",
    "all_pairs",
)
FINETUNED_BASELINES = ("class_labels", "random_labels", "group_ask")  # the others exist frozen only

_FROZEN = {
    "rounds": 2,
    "steps": 50,
    "batch_size": 16,
    "pairs_per_round": 12,
    "initial_fraction": 0.1,
    "tcal_bits": 60,
    "all_pairs_steps": 50,
}
_FINETUNE = {
    "regime": "finetune",
    "image_size": 8,
    "augment": "none",
    "epochs_first": 1,
    "epochs": 1,
    "batch_size": 32,
    "steps": 5,
}
_DIGITS = {"archive": "digits", "backbone": "tiny_cnn", "rounds": 1, "initial_fraction": 0.01, "steps": 50}
_DIGITS |= {"pairs_per_round": 20, "tcal_bits": 120, "all_pairs_steps": 50, "batch_size": 32}
_BELIEF = {
    "supervision": "belief_ask",
    "initial_draw": "random",
    "oracle_wrong": 0.1,
    "oracle_unsure": 0.1,
}


def _methods(base: dict, baselines: tuple[str, ...] = BASELINES) -> dict[str, dict]:
    """Return the settings of every method on one archive, by its name."""
    return {
        **{f"pairs, {name}": {**base, "acquisition": name} for name in PAIRS},
        "belief_ask": {**base, **_BELIEF},
        **{name: {**base, "supervision": name} for name in baselines},
    }


VECTOR_RUNS = _methods({"archive": VECTORS, **_FROZEN}) | {
    "pairs, mgue, closure, no diversity, balanced": {
        **{"archive": VECTORS, **_FROZEN, "transitive": "closure"},
        **{"diversity": False, "threshold": "balanced"},
    },
}
DIGIT_RUNS = {
    **{f"frozen, {name}": run for name, run in _methods(_DIGITS).items()},
    **{
        f"finetune, {name}": run for name, run in _methods(_DIGITS | _FINETUNE, FINETUNED_BASELINES).items()
    },
}


RUNS = {**VECTOR_RUNS, **DIGIT_RUNS}

SAVED = {"frozen": "pairs, bcgue", "belief": "belief_ask", "finetune": "finetune, pairs, mgue"}
"""Runs whose checkpoints are looked at."""

QUICK = {**VECTOR_RUNS, "finetune, pairs, mgue": DIGIT_RUNS["finetune, pairs, mgue"]}
"""What `make test` compares; the rest of the runs is slow."""

LONG = ("frozen, pairs, bcgue", "frozen, tcal", "finetune, pairs, bcgue")
"""A third of the time of all runs of digits, for choices that `QUICK` compares on vectors: `make soak`."""


def rounds(settings: dict, workdir) -> dict:
    """Run one method; return its log, without times, and every answer in its order."""
    outcome = run_experiment(ExperimentConfig(**settings), workdir)
    with closing(AnswerStore(workdir / "answers.sqlite", outcome.dataset.archive.ids)) as store:
        answered = store.answered(99)
    asked = np.column_stack([answered.round_indices, answered.pair_indices, answered.answers])
    return {
        "rows": without_times(read_rounds(workdir / "rounds.jsonl")),
        "asked": asked.ravel().tolist(),
        "notes": list(outcome.notes),
    }


def searches(folder) -> dict:
    """Search an index with two vectors, and list what it holds of the tiles that they find."""
    index = open_index(folder)
    queries = np.random.default_rng(4).normal(size=(2, DIM)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    shards = index.column("vectors")
    assert shards is not None
    found = search_exact(shards, queries, 7)
    rows = np.ravel(found.rows)
    return {
        "rows": found.rows.tolist(),
        "similarities": found.similarities.tolist(),
        "ids": index.ids(rows),
        "labels": index.labels(rows),
    }


def replies(workdir, mode: str) -> list[dict]:
    """Answer the page by class, in one mode, then undo and volunteer; return what it replied."""
    classes = require_classes(open_archive("digits"))

    async def talk(post) -> list[dict]:
        views = [await post("session", annotator="Ada", mode=mode)]
        for number in range(NUM_ANSWERS):
            question, is_unsure = views[-1]["questions"][0], number % 10 == 9
            if question["kind"] == "pair":
                is_same = classes[question["first"]] == classes[question["second"]]
                word = "unsure" if is_unsure else "similar" if is_same else "dissimilar"
                views.append(await post("answer", key=question["key"], answer=word, elapsed_s=1.5))
            else:
                picked = None if is_unsure else look(question, classes)
                views.append(await post("glance", key=question["key"], picked=picked, elapsed_s=3.0))
        set_id = views[-1]["set_id"]
        views.append(await post("undo", set_id=set_id, key=f"undo-{mode}-1"))
        pair = {"first": 3, "second": 7, "answer": "similar"}
        views.append(await post("volunteer", set_id=set_id, **pair, key=f"said-{mode}-1"))
        return views

    return at_the_page(workdir, talk)


def reopened(workdir) -> list[dict]:
    """Return what the page shows, in each mode, of a workdir that was answered before."""

    async def look(post) -> list[dict]:
        return [await post("session", annotator="Bob", mode=mode) for mode in MODES]

    return at_the_page(workdir, look)


def at_the_page(workdir, talk) -> list[dict]:
    """Open a workdir for a person, and let `talk` post to its page."""
    access = make_access("127.0.0.1")
    with opened(ExperimentConfig(**PAGE), workdir, sentence="Same class", learns=False) as context:
        views = asyncio.run(_talk(create_app(context, access), access.token, talk))
    return [without_random(view) for view in views]


async def _talk(app, token: str, talk) -> list[dict]:
    import httpx

    base = f"http://{HOST}/{token}/"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base) as http:

        async def post(route: str, **body) -> dict:
            body = {"tab": "golden-tab", **body}
            reply = await http.post(route, json=body, headers={"origin": f"http://{HOST}"})
            reply.raise_for_status()
            return reply.json()

        return await talk(post)


def without_random(value):
    """Return a reply without what no seed fixes: keys and moments."""
    if isinstance(value, dict):
        fixed = {name: each for name, each in value.items() if name not in ("key", "answered_at")}
        return {name: without_random(each) for name, each in fixed.items()}
    return [without_random(each) for each in value] if isinstance(value, list) else value


def trained_job(folder) -> dict:
    """Train as the page's background does on sixty answers; return what its result holds."""
    with np.load(HERE / "vectors.npz") as stored:
        features, classes = stored["embeddings"], stored["labels"]
    config = ExperimentConfig(**{"archive": VECTORS, **_FROZEN, "supervision": "belief_ask"})
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(config)))
    np.savez(folder / "features.npz", embeddings=features)
    ranks = np.random.default_rng(5).permutation(count_pairs(len(classes)))[:60]
    pairs = pairs_of_ranks(ranks, len(classes))
    answers = (classes[pairs[:, 0]] == classes[pairs[:, 1]]).astype(np.int8)
    similarities = np.linspace(-1, 1, len(pairs), dtype=np.float32)
    alone = np.zeros(len(pairs), np.bool_), np.ones(len(pairs), np.bool_)
    answered = Answered(pairs, answers, np.zeros(len(pairs), np.int32), similarities, *alone)
    numbers = {"set_id": 1, "answer_ids": np.arange(1, len(pairs) + 1)}
    reserved = np.empty((0, 2), np.int32)
    np.savez(folder / "job.snapshot.npz", reserved=reserved, **numbers, **answered._asdict())
    job.train(folder, "job")
    with np.load(folder / "job.result.npz") as result:
        shapes = {name: f"{result[name].dtype}{list(result[name].shape)}" for name in sorted(result.files)}
        return {"arrays": shapes, "chosen": result["chosen"].tolist(), "doubt": float(result["doubt"])}


def checkpoint(workdir) -> dict:
    """Return the names, shapes and dtypes that the newest checkpoint of a run holds."""
    with closing(RoundCheckpoints(workdir / "checkpoints")) as checkpoints:
        found = checkpoints.restore_newest()
    assert found is not None
    leaves = jax.tree_util.tree_leaves_with_path(found.state)
    arrays = {jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves}
    return {
        "round_index": found.round_index,
        "arrays": arrays,
        "provenance": sorted(found.provenance or {}),
    }


def routes() -> list[str]:
    """Return the paths that the page serves, below its token."""
    return sorted(f"{' '.join(sorted(route.methods or ()))} {route.path}" for route in page_routes())


def helps() -> dict[str, list[str]]:
    """Return the lines that each launch script prints about its flags."""
    return {path.stem: _help(path) for path in sorted((ROOT / "launch").glob("*.py"))}


def _help(path) -> list[str]:
    command = [sys.executable, path, "--helpfull"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()
