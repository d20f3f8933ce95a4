import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.models.heads import (
    PairClassifier,
    SimilarityNetwork,
    beside,
    classifier_first_layer,
    unit_norm,
)
from tests.models.random_variables import random_variables
from tests.reference.networks import pair_logits, similarity_beside, similarity_embedding

SMALL_NETWORK = SimilarityNetwork(widths=(16, 8, 6))
SMALL_CLASSIFIER = PairClassifier(widths=(16, 8, 6))
_embed, _classify = jax.jit(SMALL_NETWORK.apply), jax.jit(SMALL_CLASSIFIER.apply)


def _features(seed, count, width):
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


@given(shape=st.sampled_from([(1, 1), (9, 40)]), seed=st.integers(0, 99))
def test_similarity_network_matches_its_twin_and_has_unit_norm(shape, seed):
    features = _features(seed, *shape)
    params = random_variables(lambda key: SMALL_NETWORK.init(key, features), seed)
    embeddings = _embed(params, features)
    np.testing.assert_allclose(embeddings, similarity_embedding(params, features), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-5)


def test_default_widths_are_the_papers():
    shape = jax.ShapeDtypeStruct((1, 7), jnp.float32)
    variables = jax.eval_shape(PairClassifier().init, jax.random.key(0), shape, shape)
    kernels = [variables["params"][f"dense_{i}"]["kernel"].shape for i in range(3)]
    assert kernels == [(14, 512), (512, 256), (256, 256)]
    output, _ = jax.eval_shape(SimilarityNetwork().init_with_output, jax.random.key(0), shape)
    assert output.shape == (1, 256)


@given(shape=st.sampled_from([(1, 1), (9, 40)]), seed=st.integers(0, 99))
def test_pair_classifier_matches_its_twin(shape, seed):
    first, second = _features(seed, *shape), _features(seed + 1000, *shape)
    params = random_variables(lambda key: SMALL_CLASSIFIER.init(key, first, second), seed)
    logits = _classify(params, first, second)
    assert logits.shape == shape[:1]
    np.testing.assert_allclose(logits, pair_logits(params, first, second), atol=1e-4)


@pytest.mark.parametrize("widths", [(16, 8, 6), (16,), (512, 256, 256)])
def test_what_each_image_adds_to_the_first_layer_makes_the_layer_of_every_pair(widths):
    features = _features(3, 7, 12)
    params = random_variables(lambda key: PairClassifier(widths=widths).init(key, features, features), 0)
    as_first, as_second = map(np.asarray, jax.jit(classifier_first_layer)(params, features))
    first, second = np.divmod(np.arange(49), 7)
    kernel, bias = (np.float64(params["params"]["dense_0"][name]) for name in ("kernel", "bias"))
    expected = np.concatenate([features[first], features[second]], axis=1) @ kernel + bias
    np.testing.assert_allclose(as_first[first] + as_second[second], expected, atol=1e-4)


@given(seed=st.integers(0, 99), share=st.sampled_from([0.0, 0.07, 0.5, 1.0]), num_zero=st.integers(0, 2))
def test_cosines_of_vectors_side_by_side_are_the_mean_of_both(seed, share, num_zero):
    learnt, others = _features(seed, 5, 7), _features(seed + 1000, 5, 3)
    learnt /= np.linalg.norm(learnt, axis=1, keepdims=True)
    others[:num_zero] = 0  # no direction: what was learnt stands alone
    found = np.asarray(jax.jit(beside)(learnt, others, np.float32(share)), np.float64)
    assert found.shape == (5, 10)
    expected = similarity_beside(learnt, others, share)
    np.testing.assert_allclose(found @ found.T, expected, atol=1e-5)


def test_unit_norm_is_finite_and_flat_at_zero():
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(unit_norm(x))))(jnp.zeros((2, 5)))
    np.testing.assert_array_equal(gradient, 0.0)
    np.testing.assert_array_equal(unit_norm(jnp.zeros((2, 5))), 0.0)


def test_unit_norm_gradient_is_tangential():
    vector = jnp.array([[1.0, -2.0, 0.5]])
    _, backward = jax.vjp(unit_norm, vector)
    (gradient,) = backward(unit_norm(vector))
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)
