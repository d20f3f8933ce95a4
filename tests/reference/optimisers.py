"""Adam in float64 NumPy, one array at a time (kingma2015adam, algorithm 1)."""

import jax
import numpy as np


def adam_steps(params, gradient_at, num_steps, learning_rate, b1=0.9, b2=0.999, epsilon=1e-8):
    """Return the parameters after steps along `gradient_at(step, params)`.

    `learning_rate` is a number, or a tree of one for each of the parameters; or a function of the step that
    returns either.
    """
    leaves, structure = jax.tree.flatten(params)
    leaves = [np.asarray(leaf, np.float64) for leaf in leaves]
    means, squares = [np.zeros_like(leaf) for leaf in leaves], [np.zeros_like(leaf) for leaf in leaves]
    for step in range(num_steps):
        at = jax.tree.unflatten(structure, [leaf.astype(np.float32) for leaf in leaves])
        gradients = [np.asarray(g, np.float64) for g in jax.tree.leaves(gradient_at(step, at))]
        rates = jax.tree.leaves(learning_rate(step) if callable(learning_rate) else learning_rate)
        rates *= len(leaves) if len(rates) == 1 else 1
        for i, gradient in enumerate(gradients):
            means[i] = b1 * means[i] + (1 - b1) * gradient
            squares[i] = b2 * squares[i] + (1 - b2) * gradient**2
            mean, square = means[i] / (1 - b1 ** (step + 1)), squares[i] / (1 - b2 ** (step + 1))
            leaves[i] = leaves[i] - rates[i] * mean / (np.sqrt(square) + epsilon)
    return jax.tree.unflatten(structure, leaves)
