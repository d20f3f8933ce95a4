"""A simulated person answers the real page: how long each answer takes, and how much answers help.

  python benchmarks/annotation.py --config=launch/configs/ucm_frozen.py --answers=1000 --workdir=runs/person
  python benchmarks/annotation.py --first-page --archive=folder:TILES --workdir=runs/first [--code=FOLDER]

The person answers by the class folders, with mistakes and doubts; models are trained in the background as
usual. The first command prints latencies over HTTP, from sending an answer to receiving the next question,
and the precision@5 of the model in use, by its audits and the true one. In alternation, an answer of the
same kind is committed to a separate store without a server, which shows the time that the disk needs. The
server's CPU time is printed too, because other work on the machine does not change it. The second command
prints the time from a start with an empty cache until the page has a question and a picture. FOLDER has the
code of another commit (`git archive COMMIT | tar x -C FOLDER`), and --flags is what its command needs.
"""

import argparse
import os
import pathlib
import sys
import time

import numpy as np
import psutil

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.data.archives import open_archive
from anneal_jax.types import Answer
from tests.annotation.scripted import Person, Server
from tests.conftest import ROOT

ROWS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--config", default="launch/configs/ucm_frozen.py")
    parser.add_argument("--archive", default="folder:../shared/data/ucm")
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--answers", type=int, default=1_000)
    parser.add_argument("--mode", choices=("pairs", "mgue"), default="pairs")
    parser.add_argument("--mistakes", type=float, default=0.05)
    parser.add_argument("--unsure", type=float, default=0.05)
    parser.add_argument(
        "--pause_s", type=float, default=0.1, help="between two answers; a person takes 2 s"
    )
    parser.add_argument("--first-page", action="store_true")
    parser.add_argument("--code", type=pathlib.Path, default=ROOT)
    parser.add_argument("--flags", action="append", default=[], help="more flags of launch/annotate.py")
    arguments = parser.parse_args()
    if arguments.first_page:
        wait_for_first_page(arguments)
        return
    labels = open_archive(arguments.archive).labels
    assert labels is not None
    person = Person(labels, mistakes=arguments.mistakes, unsure=arguments.unsure)
    was_training, commits_s, cpu_s = [], [], []
    alone = AnswerStore(arguments.workdir.with_name(f"{arguments.workdir.name}_alone.sqlite"), ["a", "b"])
    flags = (f"--config={arguments.config}", f"--archive={arguments.archive}", "--sentence=Same land use")
    with Server(arguments.workdir, *flags) as server:
        process = psutil.Process(server.process.pid)
        view = person.sit_down(server, arguments.mode)
        for number in range(1, arguments.answers + 1):
            was_training.append(view["is_training"])
            before_s = sum(process.cpu_times()[:2])
            view = person.answer(server, view)
            cpu_s.append(sum(process.cpu_times()[:2]) - before_s)
            start = time.perf_counter()
            alone.give([Given(0, 1, Answer.UNSURE, "Ada", elapsed_s=2.0)])
            commits_s.append(time.perf_counter() - start)
            if number % ROWS == 0:
                print(row(view, server, labels), flush=True)
            if not view["questions"]:
                break
            time.sleep(arguments.pause_s)
    training = np.array(was_training)
    for name, took_s in (("answers", person.latencies_s), ("commits alone", commits_s)):
        for which, chosen in (("all", slice(None)), ("while training", training)):
            print(f"{name}, {which}: {spread(1e3 * np.array(took_s)[chosen])}")
    print(f"CPU time of the server between sending and having, mean: {1e3 * np.mean(cpu_s):.1f} ms")


def wait_for_first_page(arguments: argparse.Namespace) -> None:
    """Print the time, by the clock and of CPU, from the command to a question and the picture of a tile."""
    os.environ["XDG_CACHE_HOME"] = str(arguments.workdir.with_name(f"{arguments.workdir.name}_cache"))
    flags = (f"--archive={arguments.archive}", "--sentence=Same land use", *arguments.flags)
    start = time.perf_counter()
    with Server(arguments.workdir, *flags, code=arguments.code.resolve()) as server:
        view = Person([]).sit_down(server)
        assert server.read(f"tile/{view['questions'][0]['first']}.jpg")
        wall_s = time.perf_counter() - start
        cpu = psutil.Process(server.process.pid).cpu_times()
    print(f"first page of {arguments.archive}: {wall_s:.1f} s, {cpu.user + cpu.system:.1f} s of CPU")


def spread(took_ms: np.ndarray) -> str:
    if not took_ms.size:
        return "none"
    p50, p99 = np.percentile(took_ms, [50, 99])
    return f"{took_ms.size}, ms: p50 {p50:.1f}, p99 {p99:.1f}, most {took_ms.max():.0f}"


def row(view: dict, server: Server, labels: np.ndarray) -> str:
    """Print the progress; the true precision@5 is that of 300 random tiles."""
    quality = view["quality"]
    tiles = np.random.default_rng(0).permutation(len(labels))[:300]
    found = [server.get(f"neighbours/{tile}")["neighbours"][:5] for tile in tiles]
    true = np.mean(
        [
            [labels[near["tile"]] == labels[tile] for near in five]
            for tile, five in zip(tiles, found, strict=True)
        ]
    )
    share = f"{quality['share']:.3f}" if quality["share"] is not None else "-"
    return (
        f"{view['num_answers']} answers -> {view['num_known']:,} pairs, {view['bits_spent']:.0f} bits, "
        f"{view['minutes']} min; precision@5 {share} ({quality['lower']:.2f} to {quality['upper']:.2f}, "
        f"{quality['num_audits']} audits), true {true:.3f}; model of {view['model_answers']}, "
        f"{view['num_contradictions']} contradictions"
    )


if __name__ == "__main__":
    main()
