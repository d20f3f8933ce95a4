"""A progress bar for long scans."""

import jax
from tqdm import tqdm

from anneal_jax.pairs.canonical import count_pairs

_QUIET_S = 2.0


def scan_progress(num_images: int, *, share: float = 1.0) -> tqdm:
    """Return a bar of pairs scored, with pairs/s and the time left.

    Each of several processes counts its own part. The bar appears after two seconds, and only if standard
    error is a terminal.

    Use it as `with scan_progress(n) as bar: scan_pairs(scorer, n, h, progress=bar.update)`.

    Args:
      num_images: N.
      share: as given to `scan_pairs`; a sampled scan scores a little more than its share.
    """
    total = round(share * count_pairs(num_images) / jax.process_count())
    return tqdm(
        total=total,
        desc="all pairs",
        unit="pair",
        unit_scale=True,
        delay=_QUIET_S,
        leave=False,
        disable=None,
    )
