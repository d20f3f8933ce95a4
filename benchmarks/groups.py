"""Time the page of groups with groups of thousands of tiles: the wall, a preview, an act, its undo.

  python benchmarks/groups.py --tiles=20000 --moved=1,10,100,1000

Half of the tiles are in one group, a quarter in the next, and so on; one answer connects each tile to the
first of its group. Questions are chosen without beliefs. Tiles move from the first group to the second.
Times are the median of three.
"""

import argparse
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np

from anneal_jax.annotation.groups import act, moved
from anneal_jax.annotation.questions.plan import SILENT, make_plan
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.web.group_routes import wall_of
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.types import Answer

_TAB = "tab-of-benchmark"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tiles", type=int, default=20_000)
    parser.add_argument("--moved", default="1,10,100,1000", help="tiles to move at once")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        session = _session(pathlib.Path(folder), args.tiles)
        print(f"wall: {_median_ms([lambda: wall_of(session)] * 3):.0f} ms")
        for count in map(int, args.moved.split(",")):
            print(f"{count} moved: " + _times(session, range(3, 2 * count + 3, 2)))


def _session(folder: pathlib.Path, num_tiles: int) -> AnnotationSession:
    """Group tiles by how often two divides their number; the first of each group is compared with all."""
    directions = np.random.default_rng(0).normal(size=(num_tiles, 32)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    store = AnswerStore(folder / "answers.sqlite", [str(tile) for tile in range(num_tiles)])
    store.set_sentence("Same land use")
    powers = [tile & -tile for tile in range(1, num_tiles)]
    pairs = [(power, tile) for tile, power in enumerate(powers, start=1) if power != tile]
    store.give([Given(*pair, Answer.SIMILAR, "Ada") for pair in pairs])
    plan = make_plan(directions, seed=0)
    session = AnnotationSession(store, directions, np.arange(num_tiles, dtype=np.int32), plan)
    session.open_tab(_TAB, "Ada", SILENT)
    return session


def _times(session: AnnotationSession, tiles: range) -> str:
    """Move tiles to the second group and back, three times."""
    keys = [f"{len(tiles)}-times-{turn}" for turn in range(3)]
    preview = _median_ms([lambda: moved(session.standing, tiles, 2)] * 3)
    acts, undoings = [], []
    for key in keys:
        acts.append(_median_ms([lambda: act(session, _TAB, lambda it: moved(it, tiles, 2), key)]))  # noqa: B023
        undoings.append(_median_ms([lambda: session.undo(_TAB, f"undo-{key}")]))  # noqa: B023
    middle = [statistics.median(times) for times in (acts, undoings)]
    return f"preview {preview:.0f} ms, act {middle[0]:.0f} ms, undo {middle[1]:.0f} ms"


def _median_ms(works: list[Callable[[], object]]) -> float:
    times = []
    for work in works:
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


if __name__ == "__main__":
    main()
