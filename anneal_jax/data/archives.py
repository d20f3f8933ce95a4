"""Open an archive from one line of text, such as the value of a flag."""

import difflib
import os
import pathlib
from collections.abc import Callable, Collection

from anneal_jax.config import CHOICES
from anneal_jax.data.bands import holds_vectors
from anneal_jax.data.bluemarble import open_bluemarble
from anneal_jax.data.catalogue import Catalogue
from anneal_jax.data.digits import open_digits
from anneal_jax.data.folder import open_folder
from anneal_jax.data.geotiff import open_geotiff
from anneal_jax.data.labels import with_labels_csv
from anneal_jax.data.parquet import PARQUET_ENDINGS
from anneal_jax.data.pixel_embeddings import open_pixel_embeddings
from anneal_jax.data.tfds_archive import open_tfds
from anneal_jax.data.vector_files import open_embeddings
from anneal_jax.errors import ArchiveError, unknown_name
from anneal_jax.text import require_utf8
from anneal_jax.types import Archive, IntArray

# Scheme -> how to write it, and the function that opens (location, on_bad_image).
_SCHEMES: dict[str, tuple[str, Callable[[str, str], Catalogue]]] = {
    "digits": ("digits", open_digits),
    "bluemarble": ("bluemarble", open_bluemarble),
    "folder": ("folder:PATH", open_folder),
    "embeddings": ("embeddings:FILE", open_embeddings),
    "geotiff": ("geotiff:PATH", open_geotiff),
    "tfds": ("tfds:NAME", open_tfds),
}


def archive_schemes() -> Collection[str]:
    """Return the schemes that `open_archive` accepts, such as `folder`."""
    return _SCHEMES.keys()


def open_archive(
    spec: str,
    *,
    labels_csv: str | os.PathLike[str] | None = None,
    on_bad_image: str = "refuse",
) -> Archive:
    """Open a read-only archive.

    Args:
      spec: `digits`, `bluemarble`, `folder:PATH`, `embeddings:FILE`, `geotiff:PATH` or `tfds:NAME`.
        Everything after the first colon is the location: commas, spaces and further colons need no quoting.
        The last three accept options, as in `geotiff:PATH?tile=64` (docs/archives.md).
      labels_csv: a file with the columns `id` and `label`, which override the archive's own labels.
      on_bad_image: how to treat damaged, oversized or 16-bit images: "refuse" raises one error that names
        the first five; "skip" leaves them out and says so in `notes`.

    Raises:
      ArchiveError: the archive, or its labels, cannot be used as they are.
      ConfigError: `on_bad_image` is unknown.

    >>> archive = open_archive("digits")
    >>> len(archive.ids), archive.class_names[:3]
    (1797, ('0', '1', '2'))
    >>> archive.load([0, 1], image_size=32).shape
    (2, 32, 32, 3)
    """
    if on_bad_image not in CHOICES["on_bad_image"]:
        raise unknown_name("on_bad_image", on_bad_image, CHOICES["on_bad_image"])
    scheme, _, location = require_utf8(spec, "the archive", ArchiveError).partition(":")
    if scheme not in _SCHEMES:
        raise ArchiveError(_unknown_scheme_text(spec, scheme))
    _, opener = _SCHEMES[scheme]
    if scheme == "geotiff" and holds_vectors(spec):
        opener = open_pixel_embeddings
    archive = opener(location, on_bad_image)
    return archive if labels_csv is None else with_labels_csv(archive, labels_csv)


def require_classes(archive: Archive) -> IntArray:
    """Return the labels of an archive, from which a simulated oracle can answer.

    Returns:
      int32[N] without -1, of at least two classes.

    Raises:
      ArchiveError: some or all labels are missing, or all are the same.
    """
    need = "a simulated oracle and the retrieval metrics need a class for every tile"
    advice = "put each class in a sub-folder or give a labels CSV with the columns id,label"
    if archive.labels is None:
        raise ArchiveError(f"{archive.spec} has no class labels, and {need}; {advice}")
    unlabelled = [row for row, label in enumerate(archive.labels.tolist()) if label < 0]
    if unlabelled:
        raise ArchiveError(
            f"{archive.spec} has {len(unlabelled):,} tiles without a class label, the first"
            f" {archive.ids[unlabelled[0]]!r}, and {need}; {advice}"
        )
    if len(archive.class_names) == 1:
        raise ArchiveError(
            f"{archive.spec} has the single class {archive.class_names[0]!r}, which makes every"
            f" pair similar and leaves nothing to learn; {advice}, with two classes at least"
        )
    return archive.labels


def _unknown_scheme_text(spec: str, scheme: str) -> str:
    forms = ", ".join(form for form, _ in _SCHEMES.values())
    path = pathlib.Path(spec).expanduser()
    if path.is_dir():
        hint = f"folder:{spec}"
    elif path.suffix.lower() in (".npz", ".npy", *PARQUET_ENDINGS):
        hint = f"embeddings:{spec}"
    else:
        nearest = difflib.get_close_matches(scheme, _SCHEMES, n=1, cutoff=0.0)[0]
        hint = _SCHEMES[nearest][0]
    return f"unknown archive {spec!r}; did you mean {hint}? An archive is one of {forms}"
