"""A folder of small pictures, for tests of whole runs on tiles."""

import pathlib

import numpy as np
from PIL import Image

from anneal_jax.data.archives import open_archive, require_classes


def write_digits(folder: pathlib.Path, num_tiles: int, *, num_classes: int = 3, size: int = 8) -> str:
    """Write some digits as PNG files, in folders named by their classes.

    Args:
      folder: made anew.
      num_tiles: at most a hundred of each class.
      num_classes: at most ten.
      size: side of each picture in pixels.

    Returns:
      The name of the archive.
    """
    archive = open_archive("digits")
    classes = require_classes(archive)
    rows = np.flatnonzero(classes < num_classes)[:num_tiles]
    for row, tile in zip(rows, archive.load(rows, size), strict=True):
        path = folder / str(classes[row]) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tile).save(path)
    return f"folder:{folder}"
