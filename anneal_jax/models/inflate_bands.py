"""Weights for RGB, carried over to tiles of other bands.

The rule, for S bands of which red, green and blue may be some:

1. The filter of each of the three bands in the first layer goes to its own band.
2. Each further band gets the mean of the three filters.
3. The whole layer is multiplied by 3 / S.

So a tile that has one standardised image in all its bands, a grey one, gives exactly what the RGB network
gave for it: all later layers meet values of the size that they were trained on. The rule is this
project's; step 3 is as timm's `adapt_input_conv`, which repeats the three filters in place of 1 and 2.
"""

import numpy as np
import numpy.typing as npt

from anneal_jax.models.backbones import RgbBands


def inflate_kernel(kernel: npt.ArrayLike, num_bands: int, rgb_bands: RgbBands) -> np.ndarray:
    """Carry a first layer's kernel from RGB over to S bands.

    Args:
      kernel: float32[k, k, 3, out].
      num_bands: S, at least 1.
      rgb_bands: places of red, green and blue among the S; None: none of them is visible.

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
