import jax
import numpy as np
import pytest

from anneal_jax.models.heads import PairClassifier
from anneal_jax.training.learner import centred, tabulate_classifier
from tests.models.random_variables import random_variables
from tests.reference.all_pairs import logit_matrix
from tests.reference.networks import pair_logits


def make_features(num_images, dim=6):
    return np.random.default_rng(0).normal(size=(num_images, dim)).astype(np.float32)


@pytest.mark.parametrize("widths", [(16, 8, 6), (5,), (512, 256, 256)])
def test_tables_give_the_classifiers_logit_of_every_pair(widths):
    features, classifier = make_features(6), PairClassifier(widths)
    params = random_variables(lambda key: classifier.init(key, features, features), 0)
    mean, scale = np.full(6, 0.5, np.float32), np.full(6, 2.0, np.float32)
    tables = tabulate_classifier(params, 2 * features + 0.5, mean, scale)
    assert tables.as_first.shape == tables.as_second.shape == (6, widths[0])
    assert len(tables.layers) == len(widths)
    first, second = np.divmod(np.arange(36), 6)
    expected = pair_logits(params, features[first], features[second]).reshape(6, 6)
    np.testing.assert_allclose(logit_matrix(*tables), expected, rtol=1e-4, atol=1e-4)
    by_network = np.asarray(jax.jit(classifier.apply)(params, features[first], features[second]))
    np.testing.assert_allclose(by_network.reshape(6, 6), expected, rtol=1e-4, atol=1e-4)


def test_centring_uses_the_training_images_alone_in_float64():
    features = make_features(9) + np.float32(1e4)
    train = np.array([0, 2, 5])
    found = centred(features, train)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, features - features[train].astype(np.float64).mean(axis=0), atol=2e-3)
