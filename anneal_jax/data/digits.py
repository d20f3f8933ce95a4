"""The built-in archive: 1,797 handwritten digits of 8 x 8 pixels from scikit-learn."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from anneal_jax.data.catalogue import (
    Catalogue,
    check_image_size,
    checked_indices,
    numbered_ids,
    sha256_rows,
)
from anneal_jax.data.labels import encode_labels
from anneal_jax.errors import ArchiveError

_LARGEST_GREY = 16  # of the data set as published


@dataclass(frozen=True, kw_only=True, eq=False)
class DigitsArchive(Catalogue):
    """Digits held in memory as uint8[N, 8, 8]."""

    tiles: npt.NDArray[np.uint8] = field(repr=False)

    def load(
        self, indices: npt.ArrayLike, image_size: int, resampling: str = "bilinear"
    ) -> npt.NDArray[np.uint8]:
        """Return uint8[B, image_size, image_size, 3], enlarged with a Pillow filter, grey as RGB."""
        check_image_size(image_size)
        rows = checked_indices(indices, len(self.ids))
        grey = np.empty((len(rows), image_size, image_size, 1), np.uint8)
        for slot, row in enumerate(rows):
            image = Image.fromarray(self.tiles[row])
            resized = image.resize((image_size, image_size), Image.Resampling[resampling.upper()])
            grey[slot, :, :, 0] = np.asarray(resized)
        return np.repeat(grey, 3, axis=-1)

    def digests(self) -> npt.NDArray[np.uint8]:
        """Return uint8[N, 32], the SHA-256 of each tile's 64 bytes."""
        return sha256_rows(self.tiles)


def open_digits(location: str, on_bad_image: str) -> DigitsArchive:
    """Open `digits`; labels are the ten digits.

    Raises:
      ArchiveError: something follows the name.
    """
    del on_bad_image  # no tile is bad
    if location:
        raise ArchiveError(f"digits has no location, but {location!r} was given; write digits")
    from sklearn.datasets import load_digits  # takes half a second, which other archives avoid

    images, targets = load_digits(return_X_y=True)
    tiles = np.rint(images.reshape(-1, 8, 8) * (255 / _LARGEST_GREY)).astype(np.uint8)
    labels, class_names = encode_labels([str(target) for target in targets])
    return DigitsArchive(
        spec="digits",
        ids=numbered_ids("digits", len(tiles)),
        labels=labels,
        class_names=class_names,
        tiles=tiles,
    )
