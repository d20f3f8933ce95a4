"""List the tiles of an archive that are exact or near copies of one another.

  python launch/duplicates.py --archive=folder:PATH --csv=duplicates.csv

Near copies of images differ by at most --max_difference levels of 255 (root mean square at 32 x 32 pixels),
those of vectors by at most that much from a cosine of 1. The archive is not changed.
"""

import installed  # noqa: F401

from collections.abc import Sequence

from absl import flags

from anneal_jax.cli.apps import run_app

_ARCHIVE = flags.DEFINE_string(
    "archive", None, "The archive (docs/archives.md), such as folder:PATH.", required=True
)
_CSV = flags.DEFINE_string("csv", None, "File for all pairs.")
_MAX_DIFFERENCE = flags.DEFINE_float("max_difference", None, "Limit; by default 4, or 0.001 for vectors.")
_MAX_PAIRS = flags.DEFINE_integer("most_pairs", 100_000, "Maximum number of near copies.", lower_bound=1)
_ON_BAD_IMAGE = flags.DEFINE_enum("on_bad_image", "refuse", ["refuse", "skip"], "How to treat bad tiles.")


def main(argv: Sequence[str]) -> None:
    """Compare all tiles, print the first pairs, and write all of them if requested."""
    del argv
    from anneal_jax.data.archives import open_archive
    from anneal_jax.files import atomic
    from anneal_jax.reporting.duplicates_list import duplicates_table, write_duplicates
    from anneal_jax.retrieval.duplicates import find_duplicates

    atomic.require_writable(_CSV.value)
    archive = open_archive(_ARCHIVE.value, on_bad_image=_ON_BAD_IMAGE.value)
    found = find_duplicates(archive, max_difference=_MAX_DIFFERENCE.value, most_pairs=_MAX_PAIRS.value)
    if _CSV.value:
        write_duplicates(found, archive.ids, _CSV.value)
    print("\n".join([*archive.notes, duplicates_table(found, archive.ids)]))


if __name__ == "__main__":
    run_app(main)
