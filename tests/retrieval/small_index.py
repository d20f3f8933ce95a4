"""A small archive and a cheap model, for tests of what an index does with them."""

import dataclasses

import numpy as np

from anneal_jax.retrieval.manifest import ModelCard

DIM = 6
CARD = ModelCard("a1" * 32, DIM, "float16", "runs/model")


@dataclasses.dataclass(frozen=True, eq=False)
class Tiles:
    """An `Archive` of numbered tiles; tile n has the vector of n, whatever else is in the archive."""

    numbers: tuple[int, ...]
    spec: str = "tiles"
    with_labels: bool = True
    kind: str = "vector"
    notes: tuple[str, ...] = ()
    boxes: None = None
    dates: None = None
    class_names: tuple[str, ...] = ("even", "odd")

    @property
    def ids(self):
        return tuple(f"tile {number:04d} é" for number in self.numbers)

    @property
    def labels(self):
        return np.array(self.numbers, np.int32) % 2 if self.with_labels else None

    def load(self, indices, image_size):
        return np.stack([vector(self.numbers[row]) for row in indices])

    def digests(self):
        return np.frombuffer(b"".join(vector(n).tobytes()[:8] * 4 for n in self.numbers), np.uint8).reshape(
            -1, 32
        )


def vector(number):
    drawn = np.random.default_rng(number).normal(size=DIM)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def embed(archive, rows):
    return archive.load(rows, 0)


def flip(path, place, bit):
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)
