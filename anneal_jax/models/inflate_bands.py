"""Adapts weights for RGB to tiles with other bands.

The rule for S bands, which may include red, green and blue:

1. Each of the three filters in the first layer is kept for its own band.
2. Each further band gets the mean of the three filters.
3. The whole layer is multiplied by 3 / S.

So if a tile has the same standardised image in all bands, the result is exactly that of the RGB network.
Later layers receive values of the size that they were trained on. The rule is this project's; step 3 is
as in timm's `adapt_input_conv`, which repeats the three filters instead of steps 1 and 2.
"""

import numpy as np
import numpy.typing as npt

from anneal_jax.models.backbones import RgbBands


def inflate_kernel(kernel: npt.ArrayLike, num_bands: int, rgb_bands: RgbBands) -> np.ndarray:
    """Inflate a first layer's kernel from RGB to S bands.

    Args:
      kernel: float32[k, k, 3, out].
      num_bands: S, at least 1.
      rgb_bands: positions of red, green and blue among the S bands; None if no band is visible.

    Returns:
      float32[k, k, S, out]; `kernel` unchanged for three bands in the order of RGB.

    >>> inflate_kernel(np.array([[[[1.0], [2.0], [6.0]]]], np.float32), 4, (2, 1, 0)).ravel().tolist()
    [4.5, 1.5, 0.75, 2.25]
    """
    kernel = np.asarray(kernel)
    inflated = np.repeat(np.mean(kernel, axis=2, keepdims=True), num_bands, axis=2)
    for place, band in enumerate(rgb_bands or ()):
        inflated[:, :, band] = kernel[:, :, place]
    return inflated if num_bands == 3 else inflated * np.float32(3 / num_bands)
