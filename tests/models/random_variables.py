"""Random variables of any network, drawn by NumPy: nothing is compiled and nothing is special."""

import jax
import numpy as np


def random_variables(init, seed):
    """Fill what `init(key)` would return; zeros and ones, as initialised, would hide errors."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        if path[-1].key == "kernel":
            values = rng.normal(0, np.sqrt(2 / np.prod(leaf.shape[:-1])), leaf.shape)
        else:
            positive = path[-1].key in ("var", "scale")
            values = rng.uniform(*((0.5, 1.5) if positive else (-0.2, 0.2)), leaf.shape)
        return values.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(init, jax.random.key(0)))
