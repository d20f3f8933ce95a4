"""Finds the h best of all N(N-1)/2 pairs, exactly, without storing the pairs.

The scan is one pass over tiles of the upper triangle. A tile's scores stay on its device: the host reads
the smallest distance of each strip, and fetches only strips that beat the current bound. On a GPU, a kernel
can list the pairs within the bound without storing any score. The candidates that are left at the end are
scored again in float64. Memory is O(N D + tile^2 + h).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.scan.best_pairs import BestPairs
from anneal_jax.acquisition.scan.certify import Settled, settle
from anneal_jax.acquisition.scan.grid import (
    SIDE_MULTIPLE,
    SIDE_MULTIPLE_ACCELERATOR,
    choose_tiles,
    make_grid,
)
from anneal_jax.acquisition.scan.hosts import merge_processes, share_of_process
from anneal_jax.acquisition.scan.scorers import PairScorer, precision_named
from anneal_jax.acquisition.scan.stored_pass import collect_best
from anneal_jax.pairs.canonical import PairKeys, count_pairs, pairs_of_keys
from anneal_jax.types import PairIndices

_SPARE_FACTOR = 11  # candidates kept per pair wanted, so that a band of 10 h always fits


class ScanResult(NamedTuple):
    """The best pairs of a pool, and how far they can be trusted.

    Attributes:
      pair_indices: int32[h', 2], canonical, best first; h' = min(h, size of the pool).
      utilities: float64[h'], -|score - boundary| by the float64 routine, not increasing.
      is_certified: whether margin > error_bound. Then, if the bound holds, pairs and order are the same as
        if every pair were scored in float64. False only if more pairs are near the boundary than the
        scan keeps.
      is_proved: whether error_bound is a theorem (MGUE; not on TPU, nor after a larger error was
        measured) or an estimate, eight times the largest error measured (BCGUE). Certified and proved:
        certainly the float64 result. Certified, not proved: the float64 result unless some pair's error
        is far above all that were measured; if margin is inf, no pair was left out, and no bound is
        needed. Proved, not certified: a pair that was left out is better by at most 2 eps. Neither: the
        same if the estimate holds.
      margin: a pair can be missing only if its tile's error was at least this; inf if none was left out.
      error_bound: eps, the largest error of a distance; the scorer proves it, or the scan estimates it.
      measured_error: largest error of a distance among the pairs that were re-scored.
      band_size: number of kept pairs whose tile distance is within 2 eps of the h-th best, or better.
      band_is_complete: whether these are all such pairs of the pool.
      num_scored: number of pairs that the tiles covered, including known ones.
      pool_share: num_scored divided by N(N-1)/2.
    """

    pair_indices: PairIndices
    utilities: npt.NDArray[np.float64]
    is_certified: bool
    is_proved: bool
    margin: float
    error_bound: float
    measured_error: float
    band_size: int
    band_is_complete: bool
    num_scored: int
    pool_share: float


def scan_pairs(
    scorer: PairScorer,
    num_images: int,
    num_pairs: int,
    *,
    known: PairKeys | None = None,
    seed: int = 0,
    share: float = 1.0,
    tile_size: int | None = None,
    precision: str = "float32",
    devices: Sequence[Any] | None = None,
    progress: Callable[[int], object] | None = None,
) -> ScanResult:
    """Return the pairs nearest to the boundary among all pairs that are not known.

    What exact means: let eps bound the error of a tile's distances. No returned pair is worse than the
    float64 h-th best by more than 2 eps, and no other pair is better by more than 2 eps. Candidates
    within 2 eps of the h-th best are kept (there is room for at least 11 h) and re-scored in float64 by
    one fixed routine. If all of them fit, `is_certified` is true: the result is the same as if every
    pair were scored in float64; `is_proved` says whether eps is proved or estimated. Ties are broken by
    a seeded hash of (i, j). A certified and proved result does not depend on tiles, devices or
    precision. Any result is the same on one device or on eight of a kind, in one process or in several,
    if one program scores all tiles. That is so on a CPU and in MGUE's kernel; elsewhere XLA may choose
    among programs by their speed.

    A scan keeps no state outside itself: after a crash, call it again. With `jax.distributed` set up,
    every process must make the same call; each scans its share of the tiles, and all return the whole
    result.

    Args:
      scorer: from `threshold_scorer` or `classifier_scorer`.
      num_images: N, below 2^31; the pool consists of all pairs i < j except the known ones.
      num_pairs: h, number of pairs to return.
      known: int64[M], sorted keys (`pair_keys`) of pairs that must not be returned, each once.
      seed: breaks ties, and draws the tiles if `share` is below 1.
      share: share of all pairs to score, in (0, 1], for archives that are too large for a whole pass.
        Wrapped diagonals of tiles are drawn, at least one, so that all images take part about equally
        often. The result is exact for the pairs scored, and has about this share of the pairs that the
        whole pass would find. Smaller tiles give a finer draw.
      tile_size: maximum number of images along a tile's side; by default the scorer's choice for the
        kind of device. Memory grows with its square.
      precision: precision of matrix products: `float32`, `bfloat16_3x` or `bfloat16`. The last is
        approximate: its band is so wide that it hardly ever fits. On NVIDIA GPUs with enough shared
        memory, our own kernels compute MGUE in the two bfloat16 precisions for up to 1.5 million pairs
        (`fused_distances`), and BCGUE in `bfloat16` (`fused_logits`).
      devices: `jax.Device`s of this process; all of them by default. Each has a copy of the images, and a
        second one in bfloat16 if a kernel needs it.
      progress: called with the number of pairs just scored, for instance the bar of `scan_progress`.

    Raises:
      ConfigError: the precision is not known, or a tile's scores are NaN or infinite.
      ValueError: the scorer was made for another N, `known` is not a sorted set of keys, or a number is
        out of range.

    >>> from anneal_jax.acquisition.scan.scorers import threshold_scorer
    >>> scorer = threshold_scorer([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], threshold=0.5)
    >>> scan_pairs(scorer, 3, 2).pair_indices.tolist()
    [[0, 1], [1, 2]]
    """
    known = np.empty(0, np.int64) if known is None else known
    _check_request(scorer, num_images, num_pairs, known, share, tile_size)
    chosen_precision = precision_named(precision)
    if num_pairs == 0 or num_images < 2:
        return _NOTHING
    num_pairs = min(num_pairs, count_pairs(num_images))
    devices = list(devices or jax.local_devices())
    on_cpu = devices[0].platform == "cpu"
    if on_cpu:  # it has no units for bfloat16, and XLA refuses some products in it
        chosen_precision = chosen_precision._replace(algorithm=jax.lax.Precision.HIGHEST)
    largest_tile = tile_size or (scorer.tile_size if on_cpu else scorer.tile_size_accelerator)
    grid = make_grid(num_images, largest_tile, SIDE_MULTIPLE if on_cpu else SIDE_MULTIPLE_ACCELERATOR)
    tiles, num_scored = choose_tiles(grid, share, seed)
    # Off the host, fetching a wide band would take longer than the pass itself.
    capacity = max(_SPARE_FACTOR * num_pairs, scorer.band_pairs if on_cpu else 0)
    # A TPU sums products of shortened numbers in its own order, which no proof covers.
    on_tpu = devices[0].platform == "tpu"
    proved_error = math.inf if on_tpu else scorer.error_bound(chosen_precision)
    best = BestPairs(num_pairs, capacity, 2.0 * proved_error, num_images, seed)
    collect_best(
        best,
        scorer,
        grid,
        share_of_process(tiles),
        known=known,
        precision=chosen_precision,
        devices=devices,
        progress=progress,
    )
    merge_processes(best, num_images)
    settled = settle(best, scorer, num_pairs, proved_error)
    return _result(settled, num_images, num_scored)


_NOTHING = ScanResult(
    pair_indices=np.empty((0, 2), np.int32),
    utilities=np.empty(0),
    is_certified=True,
    is_proved=True,
    margin=math.inf,
    error_bound=0.0,
    measured_error=0.0,
    band_size=0,
    band_is_complete=True,
    num_scored=0,
    pool_share=1.0,
)


def _result(settled: Settled, num_images: int, num_scored: int) -> ScanResult:
    return ScanResult(
        pair_indices=pairs_of_keys(settled.pairs.keys, num_images),
        utilities=-settled.pairs.distances.astype(np.float64),
        is_certified=settled.margin > settled.error_bound,
        is_proved=settled.is_proved,
        margin=settled.margin,
        error_bound=settled.error_bound,
        measured_error=settled.measured_error,
        band_size=settled.band_size,
        band_is_complete=settled.band_is_complete,
        num_scored=num_scored,
        pool_share=num_scored / count_pairs(num_images),
    )


def _check_request(
    scorer: PairScorer,
    num_images: int,
    num_pairs: int,
    known: PairKeys,
    share: float,
    tile_size: int | None,
) -> None:
    if num_images != scorer.num_images or num_images >= 2**31:
        raise ValueError(
            f"num_images={num_images}, but the scorer holds {scorer.num_images} images; they must be "
            "equal and below 2^31."
        )
    if num_pairs < 0:
        raise ValueError(f"num_pairs={num_pairs} is negative; ask for 0 pairs or more.")
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share={share} must be above 0 and at most 1.")
    if tile_size is not None and tile_size < 1:
        raise ValueError(f"tile_size={tile_size} must be at least 1.")
    if known.dtype != np.int64 or np.any(known[1:] <= known[:-1]):
        raise ValueError("known must be a sorted int64 array of pair keys, each once: np.unique makes one.")
