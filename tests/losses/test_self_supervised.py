import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anneal_jax.losses.self_supervised import simsiam_loss, vicreg_loss
from anneal_jax.models.heads import unit_norm
from tests.reference import self_supervised as reference


def vectors(seed, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=(2, 7, 5))).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_losses_are_their_twins(seed):
    predictions, projections = unit_norm(vectors(seed)), unit_norm(vectors(seed + 10))
    np.testing.assert_allclose(
        jax.jit(simsiam_loss)(predictions, projections),
        reference.simsiam(vectors(seed).astype(np.float64), vectors(seed + 10).astype(np.float64)),
        atol=1e-6,
    )
    for scale in (0.3, 3.0):  # below and above the wanted spread
        scaled = vectors(seed, scale)
        np.testing.assert_allclose(
            jax.jit(vicreg_loss)(scaled), reference.vicreg(*scaled.astype(np.float64)), rtol=1e-5
        )


def test_simsiam_gives_no_gradient_to_what_is_predicted():
    gradients = jax.jit(jax.grad(simsiam_loss, argnums=(0, 1)))(vectors(0), vectors(1))
    assert np.abs(gradients[0]).max() > 0 and not np.any(gradients[1])


def test_a_collapse_to_one_point_is_dear_and_finite():
    point = jnp.ones((2, 7, 5))
    value, gradient = jax.jit(jax.value_and_grad(vicreg_loss))(point)
    assert value > 24 and np.isfinite(gradient).all()  # 25 (1 - 0.01)
    assert simsiam_loss(unit_norm(point), unit_norm(point)) == pytest.approx(-1.0)
