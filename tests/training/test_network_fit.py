"""The loop by itself, on a network of two numbers per channel that compiles in no time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from anneal_jax.errors import ConfigError
from anneal_jax.training.feed import HostFeed, ResidentFeed, make_mesh
from anneal_jax.training.network_fit import EarlyStop, NetworkParams, fit_network
from anneal_jax.training.optimiser import Schedule
from anneal_jax.training.tile_batches import TileBatch, Timed
from tests.compilations import count_compilations
from tests.reference.optimisers import adam_steps

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 2, 2, 3), dtype=np.uint8)
START = NetworkParams(
    {"params": {"gain": np.ones(3, np.float32)}, "batch_stats": {"mean": np.full(3, 0.5, np.float32)}},
    {"weight": np.full(3, 0.1, np.float32)},
)


class ToyLoss(NamedTuple):
    """Squared error of a linear function of the mean colour; the statistics count batches."""

    noise: float = 0.0

    def __call__(self, params, constants, tiles, batch, key):
        colours = jnp.mean(tiles.astype(jnp.float32), axis=(1, 2)) / constants["scale"]
        colours = colours + self.noise * jax.random.normal(key, colours.shape)
        gain = params.backbone["params"]["gain"][None]
        found = jnp.sum(colours * gain * params.heads["weight"][None], axis=1)[batch.places]
        loss = jnp.sum(batch.weights * jnp.square(found - batch.targets))
        moved = {"mean": params.backbone["batch_stats"]["mean"] + 1.0}
        return loss, {**params.backbone, "batch_stats": moved}


def make_batches(num_steps, *, num_tiles=8, seed=1, epochs=2.0):
    rng = np.random.default_rng(seed)
    for step in range(num_steps):
        rows = rng.choice(30, num_tiles, replace=False).astype(np.int32)
        batch = TileBatch(
            rows=rows,
            is_tile=np.ones(num_tiles, bool),
            places=np.arange(num_tiles, dtype=np.int32),
            targets=IMAGES[rows].mean(axis=(1, 2, 3)).astype(np.float32) / 255,
            weights=np.full(num_tiles, 1 / num_tiles, np.float32),
        )
        yield Timed(batch, epochs * step / num_steps)


def run(batches, **changes):
    arguments = {
        "feed": ResidentFeed(IMAGES, make_mesh(1)),
        "schedule": Schedule("constant", 0.01),
        "num_epochs": 2,
        "use": "test",
        "key": jax.random.key(0),
        **changes,
    }
    loss, feed, key = arguments.pop("loss", ToyLoss()), arguments.pop("feed"), arguments.pop("key")
    return fit_network(loss, START, {"scale": np.float32(255)}, batches, feed, key, **arguments)


def learnt(fit):
    return np.concatenate([fit.params.backbone["params"]["gain"], fit.params.heads["weight"]])


def test_steps_are_those_of_adam_with_a_rate_of_its_own_for_each_part():
    batches = [timed.batch for timed in make_batches(6)]
    gradient = jax.jit(jax.grad(lambda p, t, b: ToyLoss()(p, {"scale": 255.0}, t, b, jax.random.key(0))[0]))

    def gradient_at(step, params):
        return gradient(params, IMAGES[batches[step].rows], batches[step])

    fit = run(make_batches(6), schedule=Schedule("constant", 0.01, backbone_rate=0.1))
    rates = NetworkParams(
        {"params": {"gain": 0.001}, "batch_stats": {"mean": 0.0}}, jax.tree.map(lambda _: 0.01, START.heads)
    )
    twin = adam_steps(START, gradient_at, num_steps=6, learning_rate=rates)
    np.testing.assert_allclose(
        learnt(fit), np.append(twin.backbone["params"]["gain"], twin.heads["weight"]), atol=1e-6
    )
    assert fit.losses.shape == (6,)
    assert fit.losses[-1] < fit.losses[0]
    # Statistics are moved by the loss alone, never by Adam.
    assert fit.params.backbone["batch_stats"]["mean"].tolist() == [6.5] * 3


def test_a_cosine_ends_at_nothing():
    progress = np.append(np.linspace(0, 1, 101), np.inf)
    expected = 0.02 * 0.5 * (1 + np.cos(np.pi * np.minimum(progress, 1)))
    rates = Schedule("cosine", 0.02, backbone_rate=0.5).rates(progress)
    # To the last bit: computed in float64 on the host, so that no chunk waits for a device.
    np.testing.assert_array_equal(rates.heads, expected.astype(np.float32))
    np.testing.assert_array_equal(rates.backbone, np.float32(0.5) * rates.heads)
    assert rates.heads.dtype == np.float32 and rates.heads[-2:].tolist() == [0.0, 0.0]
    optax_rates = jax.jit(optax.cosine_decay_schedule(0.02, 100))(np.arange(100, dtype=np.float32))
    np.testing.assert_allclose(rates.heads[:100], optax_rates, atol=1e-8)
    np.testing.assert_array_equal(
        Schedule("constant", 0.02).rates(progress).heads[-3:], np.float32([0.02, 0, 0])
    )


def test_parts_of_a_batch_make_the_step_of_the_whole():
    whole = list(make_batches(3))
    parts = [
        Timed(
            TileBatch(
                *(getattr(timed.batch, name)[half] for name in ("rows", "is_tile")),
                places=np.arange(4, dtype=np.int32),
                targets=timed.batch.targets[half],
                weights=2 * timed.batch.weights[half],
            ),
            timed.epoch,
        )
        for timed in whole
        for half in (slice(0, 4), slice(4, 8))
    ]
    accumulated = run(parts, accumulation=2)
    np.testing.assert_allclose(learnt(accumulated), learnt(run(whole)), atol=1e-6)
    # The last part is repeated rather than lost.
    odd = run(parts[:5], accumulation=2)
    assert len(odd.losses) == 6
    assert (learnt(odd) != learnt(run(parts[:4], accumulation=2))).all()


@pytest.mark.parametrize("chunk_steps", [2, 4])
def test_chunks_change_nothing_and_are_filled_up_by_steps_that_move_nothing(chunk_steps):
    options = {"loss": ToyLoss(noise=0.1), "schedule": Schedule("cosine", 0.01)}
    one = run(make_batches(5), chunk_steps=1, **options)
    many = run(make_batches(5), chunk_steps=chunk_steps, **options)
    np.testing.assert_allclose(learnt(many), learnt(one), rtol=1e-6)
    np.testing.assert_allclose(many.losses[:5], one.losses, rtol=1e-6)
    statistics = many.params.backbone["batch_stats"]["mean"]
    assert statistics.tolist() == one.params.backbone["batch_stats"]["mean"].tolist() == [5.5] * 3


def test_a_call_of_one_step_holds_no_loop(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a convolution's gradient inside a loop takes a CPU twenty times as long")

    monkeypatch.setattr(jax.lax, "scan", refuse)
    fresh = ToyLoss(noise=0.123)  # not compiled by another test
    assert len(run(make_batches(2), loss=fresh, chunk_steps=1).losses) == 2
    with pytest.raises(AssertionError, match="loop"):
        run(make_batches(2), loss=fresh, chunk_steps=2)


@pytest.mark.parametrize("kind", ["resident", "host"])
def test_eight_devices_learn_what_one_does_and_compile_once(kind):
    mesh = make_mesh(8)
    feed = ResidentFeed(IMAGES, mesh)
    if kind == "host":
        feed = HostFeed(lambda rows: IMAGES[rows], 30, IMAGES.shape[1:], mesh)
    loss = ToyLoss(noise=0.1)
    with count_compilations() as compiled:
        many = run(make_batches(9), feed=feed, loss=loss)
    assert compiled["_run_chunk"] == 1
    one = run(make_batches(9), loss=loss)
    np.testing.assert_allclose(many.losses, one.losses, rtol=1e-4)
    np.testing.assert_allclose(learnt(many), learnt(one), rtol=1e-4)
    assert isinstance(many.params.heads["weight"], np.ndarray)


def held_out(target, patience):
    """One batch, whose loss is smallest where the weights give `target` everywhere."""
    (timed,) = make_batches(1)
    batch = timed.batch._replace(targets=np.full(8, target, np.float32))
    return EarlyStop(ToyLoss(), [batch], patience)


def test_a_fit_stops_when_the_held_out_loss_no_longer_falls_and_keeps_the_best():
    epochs = 12
    stop = held_out(0.2, 3)
    fit = run(make_batches(24, epochs=epochs), num_epochs=epochs, early_stop=stop)
    best = int(np.argmin([loss for _, loss in fit.measurements]))
    assert len(fit.measurements) == best + 4 < epochs
    assert [epoch for epoch, _ in fit.measurements] == list(range(1, best + 5))
    assert len(fit.losses) == 2 * len(fit.measurements)
    until = run(list(make_batches(24, epochs=epochs))[: 2 * (best + 1)], num_epochs=epochs)
    np.testing.assert_allclose(learnt(fit), learnt(until), rtol=1e-6)


@pytest.mark.parametrize(
    ("chunk_steps", "per_epoch"), [(1, 1), (1, 2), (8, 1), (8, 2), (1, 0.125), (8, 0.125)]
)
def test_a_fit_whose_held_out_loss_falls_runs_to_its_end(chunk_steps, per_epoch):
    """A chunk of 8 steps, or one batch of a small pool, may span more epochs than `patience`."""
    epochs, (timed,) = 24 if per_epoch >= 1 else 192, make_batches(1)
    num_steps = int(per_epoch * epochs)
    fit = run(
        make_batches(num_steps, epochs=epochs),
        early_stop=EarlyStop(ToyLoss(), [timed.batch], 3),
        schedule=Schedule("constant", 1e-3),
        num_epochs=epochs,
        chunk_steps=chunk_steps,
    )
    assert len(fit.losses) == num_steps
    losses = [loss for _, loss in fit.measurements]
    assert losses == sorted(set(losses), reverse=True)
    assert len(losses) == min(epochs, num_steps // chunk_steps)
    assert fit.measurements[-1].epoch == epochs


def test_epochs_of_one_chunk_are_one_measurement_in_vain():
    stop = held_out(0.1, 2)
    fit = run(make_batches(64, epochs=64), num_epochs=64, early_stop=stop, chunk_steps=8)
    losses = [loss for _, loss in fit.measurements]
    best = int(np.argmin(losses))
    assert [epoch for epoch, _ in fit.measurements] == [8.0 * (i + 1) for i in range(best + 3)]
    assert best + 3 < 8


def test_a_fit_leaves_its_start_alone_and_names_its_use_where_it_diverges():
    before = jax.tree.map(np.array, START)
    run(make_batches(2))
    assert jax.tree.all(jax.tree.map(np.array_equal, before, START))
    with pytest.raises(ConfigError, match=r"fit for 'round 3' diverged: .* rate 1e\+30; set a smaller one"):
        run(make_batches(4), schedule=Schedule("constant", 1e30), use="round 3")
