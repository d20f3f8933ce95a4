import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.models.heads import (
    PairClassifier,
    SimilarityNetwork,
    classifier_first_layer,
    classifier_rest,
    unit_norm,
)
from tests.reference.networks import pair_logits, similarity_embedding


def _with_random_biases(params, seed):
    """Zero biases, as initialised, would hide a bias that is forgotten or added twice."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    noisy = [p + 0.1 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, noisy)


def _features(seed, count, width):
    return jax.random.normal(jax.random.key(seed), (count, width))


@given(shape=st.sampled_from([(1, 1), (9, 40)]), seed=st.integers(0, 99))
def test_similarity_network_matches_its_twin_and_has_unit_norm(shape, seed):
    features = _features(seed, *shape)
    network = SimilarityNetwork(widths=(16, 8, 6))
    params = _with_random_biases(network.init(jax.random.key(seed), features), seed)
    embeddings = network.apply(params, features)
    np.testing.assert_allclose(embeddings, similarity_embedding(params, features), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-5)


def test_default_widths_are_the_papers():
    features = jnp.zeros((1, 7))
    kernels = jax.tree.map(jnp.shape, PairClassifier().init(jax.random.key(0), features, features))
    assert [kernels["params"][f"dense_{i}"]["kernel"] for i in range(3)] == [
        (14, 512),
        (512, 256),
        (256, 256),
    ]
    assert SimilarityNetwork().init_with_output(jax.random.key(0), features)[0].shape == (1, 256)


@given(shape=st.sampled_from([(1, 1), (9, 40)]), seed=st.integers(0, 99))
def test_pair_classifier_matches_its_twin(shape, seed):
    first, second = _features(seed, *shape), _features(seed + 1000, *shape)
    classifier = PairClassifier(widths=(16, 8, 6))
    params = _with_random_biases(classifier.init(jax.random.key(seed), first, second), seed)
    logits = classifier.apply(params, first, second)
    assert logits.shape == shape[:1]
    np.testing.assert_allclose(logits, pair_logits(params, first, second), atol=1e-4)


@pytest.mark.parametrize("widths", [(16, 8, 6), (16,), (512, 256, 256)])
def test_factorised_scoring_equals_the_classifier_for_every_pair(widths):
    count, width = 7, 12
    features = _features(3, count, width)
    classifier = PairClassifier(widths=widths)
    params = _with_random_biases(classifier.init(jax.random.key(0), features, features), 0)
    first, second = jnp.divmod(jnp.arange(count * count), count)
    expected = classifier.apply(params, features[first], features[second])
    a, b = classifier_first_layer(params, features)
    grid = jax.nn.relu(a[:, None, :] + b[None, :, :])
    factorised = jax.jit(classifier_rest)(params, grid)
    np.testing.assert_allclose(factorised.reshape(-1), expected, atol=1e-4)


def test_unit_norm_is_finite_and_flat_at_zero():
    gradient = jax.grad(lambda x: jnp.sum(unit_norm(x)))(jnp.zeros((2, 5)))
    np.testing.assert_array_equal(gradient, 0.0)
    np.testing.assert_array_equal(unit_norm(jnp.zeros((2, 5))), 0.0)


def test_unit_norm_gradient_is_tangential():
    vector = jnp.array([[1.0, -2.0, 0.5]])
    _, backward = jax.vjp(unit_norm, vector)
    (gradient,) = backward(unit_norm(vector))
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)
