"""Write the golden files anew, after a change that is meant to change what they hold.

  python -m tests.golden.make               all that the tests compare, in two minutes
  python -m tests.golden.make help routes   only these
  python -m tests.golden.make --old         also the old workdir and index, which a newer version must open

Look at `git diff tests/golden` before you commit: every line of it is a change that a user meets.
"""

import argparse
import json
import pathlib
import shutil
import tempfile
from collections.abc import Callable

from anneal_jax.retrieval.index_writer import append_tiles
from tests.golden import cases
from tests.retrieval.small_index import CARD, Tiles, embed


def in_folder(make: Callable) -> Callable:
    """Give a case an empty folder to work in."""

    def made(*arguments):
        with tempfile.TemporaryDirectory() as folder:
            return make(pathlib.Path(folder) / "workdir", *arguments)

    return made


def unpacked(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Unpack an old workdir or index."""
    shutil.unpack_archive(cases.HERE / f"{name}.zip", folder)
    return folder


def runs(settings: dict) -> dict:
    return {
        name: in_folder(lambda workdir, run: cases.rounds(run, workdir))(run)
        for name, run in settings.items()
    }


def background() -> dict:
    def train(folder):
        folder.mkdir()
        return cases.trained_job(folder)

    return in_folder(train)()


def checkpoints() -> dict:
    def saved(workdir, run):
        cases.rounds(cases.RUNS[run], workdir)
        return cases.checkpoint(workdir)

    return {name: in_folder(saved)(run) for name, run in cases.SAVED.items()}


def page() -> dict:
    return {mode: in_folder(cases.replies)(mode) for mode in cases.MODES}


def old() -> dict:
    """Look at the old index and workdir with the code of today."""
    return {
        "index": in_folder(lambda folder: cases.searches(unpacked("index", folder)))(),
        "annotated": in_folder(lambda folder: cases.reopened(unpacked("annotated", folder)))(),
    }


def index() -> dict:
    """Write an index, and return its manifest, with the digest of every file, and a search in it."""

    def written(folder):
        append_tiles(folder, Tiles(tuple(range(40))), embed, CARD, shard_rows=16)
        manifest = json.loads((folder / "manifest-0.json").read_text())
        return {"manifest": manifest, "found": cases.searches(folder)}

    return in_folder(written)()


GOLDEN: dict[str, Callable[[], object]] = {
    "rounds_vectors": lambda: runs(cases.VECTOR_RUNS),
    "rounds_digits": lambda: runs(cases.DIGIT_RUNS),
    "background": background,
    "checkpoints": checkpoints,
    "page": page,
    "index": index,
    "old": old,
    "routes": cases.routes,
    "help": cases.helps,
}
"""What is compared, by the name of its file."""


def read(name: str):
    """Return what a golden file holds."""
    return json.loads((cases.HERE / f"{name}.json").read_text(encoding="utf-8"))


def write(folder: pathlib.Path, name: str) -> None:
    """Write one golden file, one entry a line, so that a change shows in few lines."""
    content = GOLDEN[name]()
    (folder / f"{name}.json").write_text(_lines(content, depth=3) + "\n", encoding="utf-8")


def _lines(value, depth: int, indent: str = "") -> str:
    if not (value and depth and isinstance(value, dict | list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list) and not isinstance(value[0], dict | str):
        return json.dumps(value)
    inner = indent + " "
    if isinstance(value, dict):
        entries = [f"{json.dumps(name)}: {_lines(each, depth - 1, inner)}" for name, each in value.items()]
    else:
        entries = [_lines(each, depth - 1, inner) for each in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(entries) + f"\n{indent}{closing}"


def write_old() -> None:
    """Pack an index and an answered workdir of the code of today."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        append_tiles(root / "index", Tiles(tuple(range(40))), embed, CARD, shard_rows=16)
        cases.replies(root / "annotated", "pairs")
        for name in ("index", "annotated"):
            shutil.make_archive(str(cases.HERE / name), "zip", root / name)


def main() -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(description="Write the golden files anew.")
    parser.add_argument("names", nargs="*", choices=[[], *GOLDEN], help="all by default")
    parser.add_argument("--old", action="store_true", help="make the old workdir and index anew, too")
    parser.add_argument("--out", type=pathlib.Path, default=cases.HERE, help="folder to write to")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.old:
        write_old()
    for name in given.names or GOLDEN:
        write(given.out, name)


if __name__ == "__main__":
    main()
