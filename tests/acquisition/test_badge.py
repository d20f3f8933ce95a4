import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anneal_jax.acquisition.badge import gradient_embeddings, rank_by_gradients
from anneal_jax.acquisition.pool_sample import sample_pool
from anneal_jax.pairs.canonical import contains, pair_keys, pairs_of_ranks
from anneal_jax.types import ClassifierTables
from tests.pairs.known import known_keys
from tests.reference import pool_sample as twin

NUM_IMAGES = 9


@pytest.fixture
def classifier():
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    layers = [(draw(5, 4), draw(4)), (draw(4, 1), draw(1))]
    return ClassifierTables(draw(NUM_IMAGES, 5), draw(NUM_IMAGES, 5), layers)


def test_gradients_are_those_that_jax_derives(classifier):
    pairs = pairs_of_ranks(np.arange(20), NUM_IMAGES)
    (kernel, bias), (last_kernel, last_bias) = classifier.layers

    def loss(last, pair):
        hidden = jax.nn.relu(classifier.as_first[pair[0]] + classifier.as_second[pair[1]])
        hidden = jax.nn.relu(hidden @ kernel + bias)
        logit = (hidden @ last[0] + last[1])[0]
        likelier = jax.lax.stop_gradient(jnp.where(logit > 0, 1.0, 0.0))
        return jax.nn.softplus(logit) - likelier * logit

    for pair, found in zip(pairs, gradient_embeddings(classifier, pairs), strict=True):
        by_kernel, by_bias = jax.grad(loss)((jnp.asarray(last_kernel), jnp.asarray(last_bias)), pair)
        np.testing.assert_allclose(found, np.append(by_kernel[:, 0], by_bias), rtol=1e-4, atol=1e-6)


def test_a_sure_pair_has_no_gradient_and_an_unsure_one_half_its_input():
    last = [(np.ones((1, 1), np.float32), np.full(1, -2, np.float32))]
    tables = ClassifierTables(np.array([[2], [800]], np.float32), np.zeros((2, 1), np.float32), last)
    found = gradient_embeddings(tables, np.array([[0, 1], [1, 0]], np.int32))
    np.testing.assert_allclose(found, [[1.0, 0.5], [0.0, 0.0]], atol=1e-300)


@pytest.mark.parametrize("num_known", [0, 12])
def test_pairs_are_chosen_as_by_the_twin(classifier, num_known):
    known = known_keys(NUM_IMAGES, num_known)
    pairs, utilities = rank_by_gradients(classifier, known, 8, seed=0)
    pool = sample_pool(NUM_IMAGES, known, 8, seed=0)
    gradients = gradient_embeddings(classifier, pool)
    origin = np.zeros(gradients.shape[1])
    np.testing.assert_array_equal(pairs, pool[twin.farthest_first(gradients, [origin], 8)])
    np.testing.assert_allclose(utilities[0], np.linalg.norm(gradients, axis=1).max(), rtol=1e-6)
    assert not contains(known, pair_keys(pairs, NUM_IMAGES)).any()
