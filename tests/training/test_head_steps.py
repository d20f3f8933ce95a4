import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.training import head_fit
from anneal_jax.training.frozen import FrozenLoss, drop
from anneal_jax.training.head_fit import _run_chunk, fit
from anneal_jax.training.head_steps import (
    FitSettings,
    embed_features,
    flat_rows,
    group_objective,
    init_heads,
    pair_objective,
)
from anneal_jax.training.optimiser import Schedule
from tests.compilations import count_compilations
from tests.reference import losses as loss_twins
from tests.reference.networks import pair_logits, similarity_embedding
from tests.reference.optimisers import adam_steps
from tests.training.watched_bar import WatchedBar, counted

FEATURE_DIM, CHUNK_STEPS = 10, 4
SETTINGS = FitSettings(
    feature_dropout=0.0, margin=0.2, beta=0.3, group_loss_settings=(("temperature", 0.2),)
)


def make_batches(num_steps=CHUNK_STEPS, batch_size=8, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 20, (num_steps, batch_size, 2)).astype(np.int32)
    return rows, rng.integers(0, 2, (num_steps, batch_size)).astype(np.float32)


def make_features(seed=0):
    return np.random.default_rng(seed).normal(size=(20, FEATURE_DIM)).astype(np.float32)


def heads(with_classifier=True, seed=0):
    return init_heads(jax.random.key(seed), FEATURE_DIM, with_classifier=with_classifier)


def run(params, batches, settings=SETTINGS, objective=pair_objective, seed=0):
    return fit(
        FrozenLoss(objective, settings),
        params,
        make_features(),
        batches,
        jax.random.key(seed),
        schedule=Schedule(settings.schedule, settings.learning_rate),
        chunk_steps=CHUNK_STEPS,
        use="test",
    )


def assert_trees_close(actual, expected, **tolerance):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), actual, expected)


def test_the_two_heads_start_from_keys_of_their_own():
    params = heads()
    similarity = params.similarity["params"]["dense_2"]["kernel"]
    assert (similarity != params.classifier["params"]["dense_2"]["kernel"]).any()
    assert heads(with_classifier=False).classifier is None


def test_flat_rows_keep_images_and_list_first_before_second():
    assert flat_rows(jnp.array([3, 1, 2])).tolist() == [3, 1, 2]
    assert flat_rows(jnp.array([[3, 30], [1, 10], [2, 20]])).tolist() == [3, 1, 2, 30, 10, 20]


@pytest.mark.parametrize("with_classifier", [True, False])
def test_first_loss_of_a_fit_equals_the_float64_twin(with_classifier):
    params, (rows, labels) = heads(with_classifier), make_batches()
    first, second = make_features()[rows[0, :, 0]], make_features()[rows[0, :, 1]]
    similarities = np.sum(
        similarity_embedding(params.similarity, first) * similarity_embedding(params.similarity, second),
        axis=1,
    )
    mask = np.ones(len(similarities))
    expected = loss_twins.contrastive(similarities, labels[0], mask, SETTINGS.margin)
    if with_classifier:
        logits = pair_logits(params.classifier, first, second)
        crossed = loss_twins.binary_cross_entropy(logits, labels[0], mask)
        expected = (1 - SETTINGS.beta) * expected + SETTINGS.beta * crossed
    assert run(params, (rows, labels)).losses[0] == pytest.approx(expected, rel=1e-5)


def test_first_loss_over_groups_equals_the_float64_twin():
    params, images = heads(False), np.arange(20, dtype=np.int32)[None]
    groups = np.arange(20, dtype=np.int32)[None] % 3
    embeddings = similarity_embedding(params.similarity, make_features())
    expected = loss_twins.info_nce(embeddings, groups[0], 0.2)
    found = run(params, (images, groups), objective=group_objective).losses[0]
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", ["constant", "cosine"])
def test_a_fit_takes_the_steps_of_adam_along_its_schedule(shape):
    num_steps = 2 * CHUNK_STEPS
    params, batches = heads(), make_batches(num_steps - 1)
    loss = FrozenLoss(pair_objective, SETTINGS)
    gradient = jax.jit(jax.grad(loss))

    def gradient_at(step, params):
        batch = tuple(array[step % (num_steps - 1)] for array in batches)  # the last goes round again
        return gradient(params, jnp.asarray(make_features()), batch, jax.random.key(0))

    def rate_at(step):
        return 1e-3 * (0.5 + 0.5 * np.cos(np.pi * step / num_steps) if shape == "cosine" else 1)

    found = run(params, batches, SETTINGS._replace(schedule=shape)).params
    expected = adam_steps(params, gradient_at, num_steps, rate_at)
    # 5% of a step: where a gradient is near 0, Adam's division magnifies its rounding.
    assert_trees_close(found, expected, atol=5e-5)
    assert np.abs(first_kernel(found) - first_kernel(params)).max() > 1e-3


def first_kernel(params):
    return params.similarity["params"]["dense_0"]["kernel"]


def test_images_of_no_group_are_left_out():
    params, settings = heads(False), SETTINGS
    objective = jax.jit(group_objective, static_argnums=3)
    groups = jnp.array([0, 1, -1, 0, 1, -1])
    features = jnp.asarray(make_features()[:6])
    expected = objective(params, features[groups >= 0], groups[groups >= 0], settings)
    assert float(objective(params, features, groups, settings)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("objective", [pair_objective, group_objective])
def test_the_loss_goes_down(objective):
    images = np.tile(np.arange(20, dtype=np.int32), (60, 1))
    rows, labels = make_batches(1)
    batches = {
        pair_objective: (np.repeat(rows, 60, axis=0), np.repeat(labels, 60, axis=0)),
        group_objective: (images, images % 4),
    }[objective]
    params = heads(with_classifier=objective is pair_objective)
    losses = run(params, batches, objective=objective).losses
    assert losses.shape == (60,)
    assert losses[-10:].mean() < 0.7 * losses[:3].mean()


def test_a_fit_leaves_its_start_alone_and_repeats_bit_by_bit():
    params, settings = heads(), SETTINGS._replace(feature_dropout=0.3)
    before = jax.tree.map(np.array, params)
    first, again, other = (run(params, make_batches(), settings, seed=s).params for s in (0, 0, 1))
    assert_trees_close(params, before, rtol=0)
    assert_trees_close(first, again, rtol=0)
    assert (first_kernel(first) != first_kernel(other)).any()


def test_steps_are_rounded_up_to_whole_chunks_by_going_round_again():
    rows, labels = make_batches(num_steps=3)
    found = run(heads(), (rows, labels))
    again = np.array([0, 1, 2, 0])
    longer = run(heads(), (rows[again], labels[again]))
    assert found.losses.shape == (4,)
    assert_trees_close(found.params, longer.params, rtol=0)


def test_other_values_of_the_same_shapes_compile_nothing():
    with count_compilations() as compiled:
        run(heads(), make_batches())
        run(heads(seed=1), make_batches(num_steps=11, seed=1), seed=5)
    assert compiled["_run_chunk"] == 1


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.95])
def test_dropout_hides_its_share_and_keeps_the_expectation(rate):
    features = jnp.ones((400, 500))
    hidden = np.asarray(drop(jax.random.key(0), features, rate))
    share = round(rate * 256) / 256
    np.testing.assert_allclose(np.unique(hidden), [0.0, 1.0 / (1.0 - share)], rtol=1e-6)
    deviation = np.sqrt(share * (1 - share) / hidden.size)
    assert abs(np.mean(hidden == 0.0) - share) < 4 * deviation
    assert abs(np.mean(hidden) - 1.0) < 4 * deviation / (1 - share)


@given(st.sampled_from([0.0, 0.001]), st.integers(0, 99))
def test_dropout_below_one_in_512_hides_nothing(rate, seed):
    features = make_features(seed)
    np.testing.assert_array_equal(drop(jax.random.key(seed), features, rate), features)


def test_embedding_features_equals_the_twin():
    params = heads(False)
    expected = similarity_embedding(params.similarity, make_features())
    np.testing.assert_allclose(embed_features(params.similarity, make_features()), expected, atol=1e-5)


def test_who_watches_sees_the_loss_of_the_chunk_before_while_the_next_is_under_way(monkeypatch):
    calls = []
    bar = WatchedBar(calls)
    monkeypatch.setattr(head_fit, "tqdm", bar)
    monkeypatch.setattr(head_fit, "_run_chunk", counted(_run_chunk, calls))
    found = run(heads(), make_batches(3 * CHUNK_STEPS))
    last = found.losses[CHUNK_STEPS - 1 :: CHUNK_STEPS]
    assert bar.shown == [(2, f"{last[0]:.3f}"), (3, f"{last[1]:.3f}")]
