"""Search by example: tiles to choose a query from, and the tiles and answers nearest to a query."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.kmeans import cluster
from anneal_jax.answers.reading import AnswerRecord
from anneal_jax.errors import RetrievalError
from anneal_jax.evaluation.calibration import Calibration, fit_calibration
from anneal_jax.retrieval.search import MAX_RESULTS, search_exact
from anneal_jax.types import Answer, FloatArray

ANSWERS_SHOWN = 8
"""Number of answered pairs shown for a query."""

_KINDS_SHOWN = 32  # clusters that alternate on the wall, about as many as a screen has room for
_SAMPLED_TILES = 2_048  # the clustered sample of a larger archive; other tiles join the nearest cluster
_MIN_QUERY_NORM = 1e-6


class Found(NamedTuple):
    """One result.

    Attributes:
      tile: a tile of the archive.
      similarity: cosine of the tile and the query.
    """

    tile: int
    similarity: float


class NearAnswer(NamedTuple):
    """An answered pair, and how near it is to a query.

    Attributes:
      record: the answer.
      nearer: the tile of the pair that is nearer to the query.
      similarity: cosine of that tile and the query.
    """

    record: AnswerRecord
    nearer: int
    similarity: float


def nearest(embeddings: FloatArray, query: FloatArray, count: int, *, own: int = -1) -> list[Found]:
    """Return the most similar tiles by exact search, best first.

    Args:
      embeddings: float32[N, D], unit norm, of the archive.
      query: float32[D], unit norm.
      count: maximum number of tiles.
      own: the tile used as the query, which is not a result; -1 if none.

    Raises:
      RetrievalError: the query has no direction.
    """
    if np.linalg.norm(query) < _MIN_QUERY_NORM:
        raise RetrievalError(
            "this tile equals the mean of all tiles, so its cosines are undefined; search by another one."
        )
    count = max(1, min(count, MAX_RESULTS))
    hits = search_exact([embeddings], query[None], count, own_rows=np.array([own], np.int64))
    found = zip(hits.rows[0].tolist(), hits.similarities[0].tolist(), strict=True)
    return [Found(tile, similarity) for tile, similarity in found if tile >= 0]


def nearest_tiles(
    embeddings: FloatArray, tiles: npt.NDArray[np.integer], count: int
) -> npt.NDArray[np.int64]:
    """Return, for each of some tiles, the most similar other tiles by exact search, best first.

    Ties are ordered by row. For a zero vector all other tiles are tied.

    Args:
      embeddings: float32[N, D], unit norm or zero, of the archive.
      tiles: int[M], rows of `embeddings`.
      count: 1 to N - 1, and to 1,000.

    Returns:
      int64[M, count].

    >>> nearest_tiles(np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32), np.array([0, 1]), 2).tolist()
    [[2, 1], [2, 0]]
    """
    has_direction = np.linalg.norm(embeddings[tiles], axis=1) >= _MIN_QUERY_NORM
    found = np.arange(count) + (np.arange(count) >= tiles[:, None])  # the first rows, without the tile
    searched = tiles[has_direction].astype(np.int64)
    found[has_direction] = search_exact([embeddings], embeddings[searched], count, own_rows=searched).rows
    return found


def nearest_answers(
    records: Sequence[AnswerRecord], embeddings: FloatArray, query: FloatArray
) -> list[NearAnswer]:
    """Return the answered pairs with the tiles nearest to a query, each pair once.

    Args:
      records: the answers that stand, in the order given; of a pair the last one counts.
      embeddings: float32[N, D], unit norm, of the archive.
      query: float32[D], unit norm.

    Returns:
      At most `ANSWERS_SHOWN` pairs, ordered by their nearer tile, then by the other one.
    """
    newest = _newest(records)
    if not newest:
        return []
    pairs = np.array([(record.first, record.second) for record in newest], np.int32)
    tiles, places = np.unique(pairs, return_inverse=True)
    similarities = (embeddings[tiles] @ query)[places.reshape(pairs.shape)]
    order = np.lexsort((-similarities.min(axis=1), -similarities.max(axis=1)))[:ANSWERS_SHOWN]
    return [
        NearAnswer(newest[row], int(pairs[row, side]), float(similarities[row, side]))
        for row in order.tolist()
        for side in [int(similarities[row].argmax())]
    ]


def calibrate(records: Sequence[AnswerRecord], embeddings: FloatArray) -> tuple[Calibration | None, int]:
    """Fit P(similar) of the model in use to the blind audits, which no model was trained on.

    Args:
      records: the answers that stand, in the order given; of a pair the last one counts.
      embeddings: float32[N, D], unit norm, of the archive.

    Returns:
      (calibration, num_audits): None if there are too few audits; unsure answers are not counted.
    """
    audits = [r for r in _newest(r for r in records if r.kind == "audit") if r.answer != Answer.UNSURE]
    if not audits:
        return None, 0
    first, second = np.array([(record.first, record.second) for record in audits], np.int32).T
    cosines = np.einsum("pd,pd->p", embeddings[first], embeddings[second])
    return fit_calibration(cosines, [int(record.answer) for record in audits]), len(audits)


def spread_order(directions: FloatArray, *, seed: int) -> npt.NDArray[np.intp]:
    """Order the tiles of an archive so that any page of them shows many kinds.

    k-means finds 32 clusters in a sample of 2,048 tiles, and every tile joins the cluster with the nearest
    mean. The clusters alternate, largest first. Each starts with the tile nearest to its mean and continues
    in random order, because the next nearest tiles look like the first.

    Args:
      directions: float32[N, F], centred features of unit length, N >= 1.
      seed: seed of the sample, the clusters and the order within a cluster.

    Returns:
      int[N], every tile once.
    """
    rng = np.random.default_rng([seed, 0x3A11])
    num_tiles = len(directions)
    sample = np.sort(rng.permutation(num_tiles)[:_SAMPLED_TILES])
    kinds = cluster(directions[sample], min(_KINDS_SHOWN, len(sample)), seed=seed)
    means = np.stack([directions[sample[kinds == kind]].mean(axis=0) for kind in np.unique(kinds)])
    distances = (means**2).sum(axis=1) - 2 * directions @ means.T
    kind_of = distances.argmin(axis=1)
    turns = np.empty(num_tiles, np.intp)
    for kind in range(len(means)):
        members = rng.permutation(np.flatnonzero(kind_of == kind))
        nearest_first = members[np.argsort(distances[members, kind], kind="stable")[:1]]
        rest = members[~np.isin(members, nearest_first)]
        turns[np.concatenate([nearest_first, rest])] = np.arange(len(members))
    sizes = np.bincount(kind_of, minlength=len(means))
    return np.lexsort((kind_of, -sizes[kind_of], turns))


def named_tiles(names: Sequence[str], text: str) -> list[int]:
    """Return the tiles whose names contain a text, ignoring case."""
    wanted = text.lower()
    return [tile for tile, name in enumerate(names) if wanted in name.lower()]


def _newest(records: Iterable[AnswerRecord]) -> list[AnswerRecord]:
    """Return the last answer of each pair."""
    return list({(record.first, record.second): record for record in records}.values())
