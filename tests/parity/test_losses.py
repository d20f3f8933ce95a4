"""The group losses against pytorch-metric-learning: values, and gradients through the normalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anneal_jax.losses.registry import get_group_loss

torch = pytest.importorskip("torch", reason="needs torch; run scripts/parity")
pml = pytest.importorskip(
    "pytorch_metric_learning", reason="needs pytorch-metric-learning; run scripts/parity"
)

from pytorch_metric_learning import distances, losses, miners, reducers  # noqa: E402

NUM_ROWS, DIM = 24, 8


def contrastive(rows, groups):
    """Half of theirs: it adds the means of both kinds, where ours averages them."""
    loss = losses.ContrastiveLoss(
        pos_margin=1, neg_margin=0.1, distance=distances.CosineSimilarity(), reducer=reducers.MeanReducer()
    )
    return loss(rows, groups) / 2


def info_nce(rows, groups):
    return losses.SupConLoss(temperature=0.1)(rows, groups)


def n_pairs(rows, groups):
    """Theirs of this name takes one pair of each class; that of all positive pairs is NT-Xent."""
    return losses.NTXentLoss(temperature=0.1)(rows, groups)


def multi_similarity(rows, groups):
    mined = miners.MultiSimilarityMiner(epsilon=0.1)(rows, groups)
    return losses.MultiSimilarityLoss(alpha=2, beta=50, base=0.5)(rows, groups, mined)


def triplet_batch_hard(rows, groups):
    mined = miners.BatchHardMiner()(rows, groups)
    return losses.TripletMarginLoss(margin=0.2, reducer=reducers.MeanReducer())(rows, groups, mined)


def draw(seed):
    """Groups that hang together somewhat; two rows are alone in theirs."""
    rng = np.random.default_rng(seed)
    groups = np.append(rng.integers(0, 5, NUM_ROWS - 2), [7, 8]).astype(np.int32)
    rows = rng.normal(size=(9, DIM))[groups] * rng.uniform(0, 2) + rng.normal(size=(NUM_ROWS, DIM))
    return rows.astype(np.float32), groups


def ours(name, rows, groups):
    """Return value and gradient of our loss of the normalised rows."""

    def loss(rows):
        unit = rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
        return get_group_loss(name)(unit, jnp.asarray(groups), jnp.ones(len(groups), bool))

    return jax.value_and_grad(loss)(jnp.asarray(rows))


def theirs(loss, rows, groups):
    leaf = torch.tensor(rows, requires_grad=True)
    value = loss(torch.nn.functional.normalize(leaf), torch.tensor(groups))
    value.backward()
    return value.item(), leaf.grad.numpy()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "loss", [contrastive, info_nce, n_pairs, multi_similarity, triplet_batch_hard], ids=lambda f: f.__name__
)
def test_value_and_gradient_equal_those_of_pytorch_metric_learning(loss, seed):
    rows, groups = draw(seed)
    value, gradient = ours(loss.__name__, rows, groups)
    expected, expected_gradient = theirs(loss, rows, groups)
    assert abs(expected) > 1e-3
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Values of Tp or Tn are too high")
@pytest.mark.parametrize("seed", range(5))
def test_ranked_list_differs_by_no_more_than_the_epsilon_of_their_means(seed):
    """Theirs adds 1e-5 for each row of the batch to what it divides by, and its weights have a gradient."""
    rows, groups = draw(seed)
    value, _ = ours("ranked_list", rows, groups)
    theirs_of = losses.RankedListLoss(margin=0.4, Tn=10, imbalance=0.5, alpha=1.2)
    expected, _ = theirs(theirs_of, rows, groups)
    assert expected > 1e-3
    np.testing.assert_allclose(value, expected, rtol=1e-5 * NUM_ROWS, atol=0)
