import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.losses.pair import binary_cross_entropy_loss, contrastive_loss, pair_loss
from tests.reference import losses as reference


def draw_pairs(seed, num_pairs=12):
    generator = np.random.default_rng(seed)
    similarities = generator.uniform(-1, 1, num_pairs).astype(np.float32)
    logits = generator.normal(0, 3, num_pairs).astype(np.float32)
    return (
        similarities,
        logits,
        generator.integers(0, 2, num_pairs),
        generator.random(num_pairs) < 0.7,
    )


def test_contrastive_loss_by_hand():
    similarities = jnp.array([0.8, 0.3, 0.05, -0.5])
    labels = jnp.array([1, 0, 0, 1])
    loss = contrastive_loss(similarities, labels, jnp.ones(4, bool), margin=0.1)
    assert float(loss) == pytest.approx((0.2 + 0.2 + 0.0 + 1.5) / 4)


def test_cross_entropy_falls_as_the_classifier_gets_right():
    labels, mask = jnp.array([1, 0]), jnp.ones(2, bool)
    right = binary_cross_entropy_loss(jnp.array([3.0, -3.0]), labels, mask)
    wrong = binary_cross_entropy_loss(jnp.array([-3.0, 3.0]), labels, mask)
    assert 0 < float(right) < float(wrong)


@given(seed=st.integers(0, 2**32 - 1))
def test_losses_equal_their_twins(seed):
    similarities, logits, labels, mask = draw_pairs(seed)
    contrastive = reference.contrastive(similarities, labels, mask, 0.2)
    entropy = reference.binary_cross_entropy(logits, labels, mask)
    inputs = jnp.asarray(labels), jnp.asarray(mask)
    found = contrastive_loss(jnp.asarray(similarities), *inputs, margin=0.2)
    np.testing.assert_allclose(found, contrastive, rtol=1e-5, atol=1e-6)
    found = binary_cross_entropy_loss(jnp.asarray(logits), *inputs)
    np.testing.assert_allclose(found, entropy, rtol=1e-5, atol=1e-6)
    found = pair_loss(jnp.asarray(similarities), jnp.asarray(logits), *inputs, margin=0.2, beta=0.3)
    np.testing.assert_allclose(found, 0.7 * contrastive + 0.3 * entropy, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.int32, np.float32])
def test_labels_and_masks_of_any_kind_read_alike(dtype):
    similarities, logits, labels, mask = draw_pairs(3)
    expected = pair_loss(
        jnp.asarray(similarities), jnp.asarray(logits), jnp.asarray(labels), jnp.asarray(mask)
    )
    found = pair_loss(
        jnp.asarray(similarities),
        jnp.asarray(logits),
        jnp.asarray(labels.astype(dtype)),
        jnp.asarray(mask.astype(dtype)),
    )
    assert float(found) == float(expected)


def test_float_weights_make_a_weighted_mean():
    similarities, labels = jnp.array([0.6, 0.2]), jnp.array([1, 1])
    loss = contrastive_loss(similarities, labels, jnp.array([1.0, 0.25]))
    assert float(loss) == pytest.approx((0.4 + 0.25 * 0.8) / 1.25)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_masked_pairs_do_not_matter_even_if_not_finite(poison):
    similarities, logits, labels, _ = draw_pairs(5)
    mask = np.arange(12) < 9

    def loss(similarities, logits):
        return pair_loss(similarities, logits, jnp.asarray(labels), jnp.asarray(mask))

    values = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    clean, gradients = values(jnp.asarray(similarities), jnp.asarray(logits))
    similarities[9:], logits[9:] = poison, poison
    dirty, dirty_gradients = values(jnp.asarray(similarities), jnp.asarray(logits))
    assert float(clean) == float(dirty)
    jax.tree.map(np.testing.assert_array_equal, gradients, dirty_gradients)


def test_empty_mask_costs_nothing_and_moves_nothing():
    similarities, logits, labels, _ = draw_pairs(7)
    mask = jnp.zeros(12, bool)

    def loss(similarities, logits):
        return pair_loss(similarities, logits, jnp.asarray(labels), mask)

    value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(
        jnp.asarray(similarities), jnp.asarray(logits)
    )
    assert float(value) == 0
    assert not np.any(gradients)


def test_huge_logits_stay_finite():
    logits, labels = jnp.array([1e6, -1e6]), jnp.array([0, 1])
    gradient_of = jax.jit(jax.value_and_grad(binary_cross_entropy_loss))
    value, gradient = gradient_of(logits, labels, jnp.ones(2, bool))
    assert float(value) == pytest.approx(1e6)
    np.testing.assert_allclose(gradient, [0.5, -0.5])
