"""Search an archive by example: a page asks which tiles are alike, and a model learns from the answers.

  anneal-jax PATH
  python launch/annotate.py PATH

Both commands do the same. PATH is a folder of JPEG, PNG or TIFF tiles, a GeoTIFF scene or a folder of them,
or the name of an archive such as digits. It can also be an .npz or .parquet file of precomputed vectors;
--archive=folder:PATH then names their tiles. No labels are needed, and PATH is only read. The same command
continues an earlier session; launch/run.py --workdir=FOLDER then trains on the answers.
"""

import pathlib
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from anneal_jax.annotation.web.settings import annotation_settings
from anneal_jax.cli.apps import config_of, run_app
from anneal_jax.errors import ConfigError
from anneal_jax.files.workdir import default_workdir

_CONFIG = config_flags.DEFINE_config_file("config", None, "Settings; by default those of the workdir.")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for the answers and other files; by default one for PATH in the user's data."
)
_ARCHIVE = flags.DEFINE_string(
    "archive", "", "Tiles, as folder:PATH; by default PATH, or the tiles of the workdir."
)
_FEATURES = flags.DEFINE_string(
    "features", "", "Precomputed vectors of the tiles, FILE.npz (embeddings, and ids: the tiles' names)."
)
_THUMBNAILS = flags.DEFINE_string(
    "thumbnails", "", "Pictures for vectors: a folder (by id), SCENE.tif (by place) or a column of paths."
)
_LABELS = flags.DEFINE_string("labels", "", "CSV (id,label) of class labels to start from.")
flags.DEFINE_string("backbone", None, "Network that computes the features, such as resnet18.")
flags.DEFINE_string("pretrained", None, "Its weights: a file, or hf:OWNER/NAME.")
flags.DEFINE_enum(
    "on_bad_image", None, ["refuse", "skip"], "How to treat bad tiles; a new workdir skips and lists them."
)
flags.DEFINE_string("cache_dir", None, "Folder for computed features; by default the user's.")
_SENTENCE = flags.DEFINE_string("sentence", "", "What similar means; if it is not given, the page asks.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen on.")
_PORT = flags.DEFINE_integer(
    "port", None, "Port; 0 takes any free one; by default 8765 or the next free one.", 0, 65535
)
_ALLOWED_HOST = flags.DEFINE_multi_string(
    "allowed_host", [], "Another host name of the page, such as a tunnel's; may be repeated."
)
_BASEMAP_URL = flags.DEFINE_string(
    "basemap_url",
    "",
    "Map server for the background of the map, such as https://tiles.example/{z}/{x}/{y}.png.",
)
_BROWSER = flags.DEFINE_bool("browser", True, "Open the page in this desktop's browser, if there is one.")

_SETTINGS = ("backbone", "pretrained", "on_bad_image", "cache_dir")


def main() -> None:
    """Serve the page until Ctrl-C, or print the address of the one that is open."""
    run_app(_serve, module=__name__, num_arguments=1)


def _serve(argv: Sequence[str]) -> None:
    config = None if _CONFIG.value is None else config_of(_CONFIG.value)
    archive, features = _asked(argv[1:])
    workdir = _workdir(archive, features)
    named = {name: flags.FLAGS[name].value for name in _SETTINGS}
    asked = annotation_settings(workdir, archive, features, named, config, _THUMBNAILS.value)
    from anneal_jax.annotation.web.page_address import open_page

    if url := open_page(workdir):
        print(f"The page of {workdir} is already open at {url}")
        _show(url)
        return
    print(f"Answers are kept in {workdir}.", flush=True)
    from anneal_jax.annotation.web.server import serve  # imports jax, so not before now

    serve(
        asked.config,
        workdir,
        pictures=asked.pictures,
        labels=_LABELS.value,
        host=_HOST.value,
        port=_PORT.value,
        allowed_hosts=_ALLOWED_HOST.value,
        sentence=_SENTENCE.value,
        basemap_url=_BASEMAP_URL.value,
        on_ready=_announce,
    )


def _asked(paths: Sequence[str]) -> tuple[str, str]:
    """Return the archive of tiles and the file of vectors that the command line names."""
    archive, features = _ARCHIVE.value, _FEATURES.value
    if not paths:
        return archive, features
    from anneal_jax.data.recognising import recognise

    found = recognise(paths[0])
    is_vectors = found.startswith("embeddings:")
    if (archive and not is_vectors) or (features and is_vectors):
        raise ConfigError(f"{paths[0]!r} and a flag name the same thing; give only one of them.")
    return (archive, found.partition(":")[2]) if is_vectors and archive else (found, features)


def _workdir(archive: str, features: str) -> pathlib.Path:
    if _WORKDIR.value:
        return pathlib.Path(_WORKDIR.value)
    if not archive:
        raise ConfigError("name what to search: anneal-jax PATH, such as a folder of tiles; see --help.")
    from anneal_jax.data.recognising import recognise

    return default_workdir(recognise(archive))


def _announce(url: str, notes: list[str]) -> None:
    print(f"Open {url} (Ctrl-C stops it; every answer with a tick is saved).", *notes, sep="\n", flush=True)
    _show(url)


def _show(url: str) -> None:
    from anneal_jax.annotation.web.access import LOOPBACK
    from anneal_jax.annotation.web.browser import open_browser

    if _BROWSER.value and _HOST.value in LOOPBACK:
        open_browser(url)
