"""Ask a person: open a page on which two tiles are compared with a key, and learn while they answer.

  python launch/annotate.py --archive=folder:PATH --workdir=runs/mine --backbone=resnet18 \
      --pretrained=hf:timm/resnet18.tv_in1k

No labels are needed. Without pretrained weights the first questions are hardly better than chance. The same
command goes on where it was; `launch/run.py --workdir=runs/mine` then trains on the answers.
"""

import pathlib
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from anneal_jax.annotation.settings import annotation_settings
from anneal_jax.cli import config_of, run_app

_CONFIG = config_flags.DEFINE_config_file("config", None, "Recipe; by default that of the workdir.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for the answers and all else.", required=True)
_ARCHIVE = flags.DEFINE_string("archive", "", "Tiles, folder:PATH; by default those of the workdir.")
_FEATURES = flags.DEFINE_string(
    "features", "", "Ready vectors of the tiles, FILE.npz (embeddings, and ids: the tiles' names)."
)
_THUMBNAILS = flags.DEFINE_string(
    "thumbnails", "", "Pictures for vectors: a folder (by id), SCENE.tif (by place) or a column of paths."
)
_LABELS = flags.DEFINE_string("labels", "", "CSV (id,label) of class labels to begin with.")
_BACKBONE = flags.DEFINE_string("backbone", None, "Network that gives the features, such as resnet18.")
_PRETRAINED = flags.DEFINE_string("pretrained", None, "Its weights: a file, or hf:OWNER/NAME.")
_SENTENCE = flags.DEFINE_string("sentence", "", "What similar means; asked on the page where not given.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen at.")
_PORT = flags.DEFINE_integer("port", 8765, "Port; 0 takes any.", lower_bound=0, upper_bound=65535)
_ALLOWED_HOST = flags.DEFINE_multi_string(
    "allowed_host", [], "Another name the page is called by, such as a tunnel's; may be repeated."
)


def main(argv: Sequence[str]) -> None:
    """Serve the page until Ctrl-C."""
    del argv
    workdir = pathlib.Path(_WORKDIR.value)
    config = None if _CONFIG.value is None else config_of(_CONFIG.value)
    named = {"backbone": _BACKBONE.value, "pretrained": _PRETRAINED.value}
    asked = annotation_settings(workdir, _ARCHIVE.value, _FEATURES.value, named, config, _THUMBNAILS.value)
    from anneal_jax.annotation.serving import serve  # jax loads only now

    serve(
        asked.config,
        workdir,
        pictures=asked.pictures,
        labels=_LABELS.value,
        host=_HOST.value,
        port=_PORT.value,
        allowed_hosts=_ALLOWED_HOST.value,
        sentence=_SENTENCE.value,
        tell=_tell,
    )


def _tell(url: str, notes: list[str]) -> None:
    print(f"Open {url} (Ctrl-C ends; every answer with a tick is kept).", *notes, sep="\n", flush=True)


if __name__ == "__main__":
    run_app(main)
