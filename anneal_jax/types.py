"""Array aliases, the letters of their shapes, and the Protocols between folders.

Letters: B batch, N images, P pairs, Q queries, A archive, D embedding, F feature, C classes,
K cut-off, H W S height, width, bands.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

PairIndices = npt.NDArray[np.int32]
"""int32[P, 2], image indices with first < second in each row."""

PairLabels = npt.NDArray[np.int8]
"""int8[P], 1 similar, 0 dissimilar."""

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

Params = Any
"""A pytree of parameters."""

MIN_NORM = 1e-12
"""Length below which a vector, such as cancelled features, has no direction and no cosine."""


class ClassifierTables(NamedTuple):
    """Tables of the pair classifier for all pairs of M tiles.

    Attributes:
      as_first: float32[M, H], contribution of each tile to the first layer as first of a pair.
      as_second: float32[M, H], contribution as second of a pair.
      layers: (kernel [in, out], bias [out]) of each layer after the first.
    """

    as_first: FloatArray
    as_second: FloatArray
    layers: Sequence[tuple[FloatArray, FloatArray]]


class Answer(IntEnum):
    """An annotator's answer about a pair."""

    DISSIMILAR = 0
    SIMILAR = 1
    UNSURE = 2


class Archive(Protocol):
    """A read-only, ordered collection of tiles.

    Attributes:
      spec: the text that opened it, such as `folder:/data/ucm`.
      ids: one stable name per tile, unique, sorted if the source has no order.
      labels: int32[N] indices into `class_names`, -1 for a tile without a label; None if no tile has one.
      class_names: names of the classes; empty without labels.
      kind: "image" if `load` returns tiles, "vector" if it returns precomputed feature vectors.
      notes: sentences for the user about what was left out and why.
      boxes: float64[N, 4], west, south, east, north of each tile in degrees (WGS 84), NaN if unknown; None
        if no tile has any.
      dates: datetime64[s][N] in UTC, NaT if unknown; None if the archive has none.
    """

    @property
    def spec(self) -> str: ...
    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def labels(self) -> IntArray | None: ...
    @property
    def class_names(self) -> Sequence[str]: ...
    @property
    def kind(self) -> str: ...
    @property
    def notes(self) -> Sequence[str]: ...
    @property
    def boxes(self) -> npt.NDArray[np.float64] | None: ...
    @property
    def dates(self) -> npt.NDArray[np.datetime64] | None: ...

    def load(self, indices: npt.ArrayLike, image_size: int, resampling: str = "bilinear") -> np.ndarray:
        """Return uint8[B, image_size, image_size, S], or float32[B, D] for kind "vector".

        S is 3, RGB, for all but `geotiff:` (`anneal_jax.data.bands`).

        `resampling` is the lower-case name of the Pillow filter for resizing tiles.
        """
        ...

    def digests(self) -> npt.NDArray[np.uint8]:
        """Return uint8[N, 32], SHA-256 of each tile's stored bytes; equal rows are equal tiles."""
        ...


class Annotator(Protocol):
    """Anyone who answers "are these two alike?": a person or a simulated oracle."""

    def __call__(self, first: int, second: int) -> Answer:
        """Answer for the archive's tiles `first` < `second`."""
        ...
