"""The kernels for a GPU find what float64 finds; here they run step by step, and are lowered for CUDA."""

import functools
import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.acquisition.scan import fused_pass, scorers, stored_pass
from anneal_jax.acquisition.scan.all_pairs import scan_pairs
from anneal_jax.acquisition.scan.fused_distances import FusedShape, find_pairs, split_operands
from anneal_jax.acquisition.scan.fused_logits import (
    LogitShape,
    _power_of_two,
    fits,
    fused_logits,
)
from anneal_jax.acquisition.scan.grid import TileGrid, make_grid
from anneal_jax.pairs.canonical import pair_keys
from tests.compilations import count_compilations

BLOCK = FusedShape(rows=16, columns=32, depth=16, num_warps=4, num_stages=2)
PAIRS = LogitShape(columns=16, rows=2, depth=16, num_warps=4, num_stages=2)
# Largest error of a score between unit vectors: 3 * 2^-14 and 2^-6 of it are what is cut from operands.
ERRORS = {3: 2.0e-4, 1: 1.7e-2}


def unit_vectors(num_images, dim, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(num_images, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


compiled_find = jax.jit(find_pairs, static_argnames=("tile_size", "capacity", "shape", "interpret"))
compiled_logits = jax.jit(fused_logits, static_argnames=("shape", "interpret"))


def find(vectors, cells, bound, *, tile_size, capacity=4096, num_passes=3, boundary=0.1):
    """Return how many pairs were found, and {pair: distance} of those listed."""
    found = compiled_find(
        split_operands(jnp.asarray(vectors), num_passes, BLOCK),
        jnp.asarray(cells, jnp.int32),
        jnp.float32(boundary),
        jnp.float32(bound),
        tile_size=tile_size,
        capacity=capacity,
        shape=BLOCK,
        interpret=True,
    )
    count = int(found.num_found[0])
    first, second, distances = (
        np.asarray(part)[:count].tolist() for part in (found.first, found.second, found.distances)
    )
    return count, dict(zip(zip(first, second, strict=True), distances, strict=True))


def float64_distances(vectors, boundary=0.1):
    scores = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    return np.abs(scores - np.float64(np.float32(boundary)))


@given(
    size=st.sampled_from([(41, 7), (80, 16), (77, 40)]),  # images, components; each shape is compiled once
    bound=st.sampled_from([0.003, 0.05, 3.0]),
    num_passes=st.sampled_from([3, 1]),
    seed=st.integers(0, 99),
)
def test_the_kernel_lists_the_pairs_within_the_bound_once_each(size, bound, num_passes, seed):
    (num_images, _), tile_size = size, 40
    vectors = unit_vectors(*size, seed)
    last = num_images - tile_size
    cells = [(0, 0, 0, 0), (0, last, 0, 40), (last, last, 40, 40), (-1, -1, -1, -1)]
    count, found = find(vectors, cells, bound, tile_size=tile_size, num_passes=num_passes)
    assert count == len(found)
    distances, error = float64_distances(vectors), ERRORS[num_passes]
    pairs = list(zip(*np.triu_indices(num_images, 1), strict=True))
    assert set(found) <= set(pairs)
    assert all(pair in found for pair in pairs if distances[pair] <= bound - error)
    assert all(distances[pair] <= bound + error for pair in found)
    np.testing.assert_allclose(
        list(found.values()), [distances[pair] for pair in found], rtol=0, atol=error
    )


def test_three_passes_are_hundreds_of_times_as_accurate_as_one():
    vectors, cells = unit_vectors(64, 48), [(0, 0, 0, 0)]
    distances = float64_distances(vectors)
    three, one = (
        max(
            abs(away - distances[pair])
            for pair, away in find(vectors, cells, 3.0, tile_size=64, num_passes=n)[1].items()
        )
        for n in (3, 1)
    )
    assert three < 1e-5 < 1e-4 < one


def test_pairs_beyond_the_capacity_are_counted_not_listed():
    count, _ = find(unit_vectors(64, 8), [(0, 0, 0, 0)], 3.0, tile_size=64, capacity=100)
    assert count == 64 * 63 // 2


def scan_fused(monkeypatch, *args, shape=BLOCK, **settings):
    """Scan with the kernel, which a CPU would not use of itself."""
    make = functools.partial(fused_pass.make_finder, shape=shape, interpret=True)
    with monkeypatch.context() as patch:
        patch.setattr(stored_pass, "is_fusible", lambda *_: True)
        patch.setattr(stored_pass, "make_finder", make)
        return scan_pairs(*args, **settings)


def assert_same(one, other):
    np.testing.assert_array_equal(one.pair_indices, other.pair_indices)
    np.testing.assert_array_equal(one.utilities, other.utilities)


@pytest.mark.parametrize(("num_devices", "tile_size"), [(1, 48), (8, 48), (1, 20)])  # 20: hundreds of tiles
def test_a_scan_with_the_kernel_returns_what_it_returns_without(monkeypatch, num_devices, tile_size):
    vectors = unit_vectors(500, 20)
    scorer = scorers.threshold_scorer(vectors, 0.1)
    call = {
        "precision": "bfloat16_3x",
        "tile_size": tile_size,
        "devices": jax.devices()[:num_devices],
        "seed": 3,
    }
    without = scan_pairs(scorer, 500, 60, **call)
    known = np.sort(pair_keys(without.pair_indices[::2], 500))
    seen = []
    assert_same(without, scan_fused(monkeypatch, scorer, 500, 60, **call, progress=seen.append))
    assert without.is_certified and sum(seen) == 500 * 499 // 2
    assert_same(
        scan_pairs(scorer, 500, 60, known=known, **call),
        scan_fused(monkeypatch, scorer, 500, 60, known=known, **call),
    )


def spy_on_sides(monkeypatch):
    """Return a list to which each call of the kernel adds the side of its tiles."""
    sides, find_everywhere = [], fused_pass._find_everywhere

    def spy(*arrays, settings):
        sides.append(settings[0])
        return find_everywhere(*arrays, settings=settings)

    monkeypatch.setattr(fused_pass, "_find_everywhere", spy)
    return sides


@pytest.mark.parametrize("tile_size", [48, 40])  # made of whole small parts, and not
def test_what_overflows_the_list_is_found_in_small_parts(monkeypatch, tile_size):
    # All 44,850 pairs are kept, so that no bound ever makes those of a tile fit a list of 256.
    scorer = scorers.threshold_scorer(unit_vectors(300, 20), 0.1)
    call = {"precision": "bfloat16_3x", "tile_size": tile_size, "devices": jax.devices()[:1]}
    known = np.sort(pair_keys(scan_pairs(scorer, 300, 20, **call).pair_indices, 300))
    without = scan_pairs(scorer, 300, 50, known=known, **call)
    monkeypatch.setattr(fused_pass, "_MIN_LISTED", 256)
    monkeypatch.setattr(fused_pass, "_LISTED_PER_KEPT", 0)
    sides, seen = spy_on_sides(monkeypatch), []
    assert_same(
        without, scan_fused(monkeypatch, scorer, 300, 50, known=known, progress=seen.append, **call)
    )
    assert set(sides) == {tile_size, 16}
    assert sum(seen) == 300 * 299 // 2


@pytest.mark.parametrize("num_pairs", [1, 40])
def test_the_kernel_returns_the_same_on_any_number_of_devices_certified_or_not(monkeypatch, num_pairs):
    # One pass of bfloat16 and a small buffer: other scores of a tile would show.
    scorer = scorers.threshold_scorer(unit_vectors(250, 20), 0.1)._replace(band_pairs=0)
    monkeypatch.setattr(fused_pass, "_MIN_LISTED", 4)
    sides = spy_on_sides(monkeypatch)
    one, eight = (
        scan_fused(
            monkeypatch,
            scorer,
            250,
            num_pairs,
            precision="bfloat16",
            tile_size=48,
            devices=jax.devices()[:num_devices],
        )
        for num_devices in (1, 8)
    )
    assert not one.is_certified
    assert_same(one, eight)
    assert one[2:] == eight[2:]
    # Lists that overflow tell bounds, until they fit: no tile need be cut.
    assert set(sides) == {48} and len(sides) > 10


@pytest.mark.slow
@pytest.mark.parametrize(("num_devices", "known_share"), [(1, 0.0), (3, 0.9), (1, 0.999)])
def test_a_list_that_overflows_tells_as_much_as_one_that_does_not(monkeypatch, num_devices, known_share):
    scorer = scorers.threshold_scorer(unit_vectors(120, 20), 0.1)._replace(band_pairs=0)
    keys = pair_keys(np.stack(np.triu_indices(120, 1), axis=1).astype(np.int32), 120)
    known = keys[np.random.default_rng(1).random(keys.size) < known_share]
    call = {
        "precision": "bfloat16",
        "tile_size": 48,
        "known": known,
        "devices": jax.devices()[:num_devices],
    }
    for num_pairs in (1, 2):
        whole = scan_fused(monkeypatch, scorer, 120, num_pairs, **call)
        with monkeypatch.context() as patch:
            patch.setattr(fused_pass, "_MIN_LISTED", 11 * num_pairs + 3)
            patch.setattr(fused_pass, "_LISTED_PER_KEPT", 0)
            overflowing = scan_fused(monkeypatch, scorer, 120, num_pairs, **call)
        assert_same(whole, overflowing)
        assert whole[2:] == overflowing[2:]
        assert len(whole.pair_indices) == num_pairs


@pytest.mark.slow
@pytest.mark.parametrize("num_devices", [1, 8])
def test_equal_scores_and_tiny_archives_lose_nothing(monkeypatch, num_devices):
    same = scorers.threshold_scorer(np.repeat(unit_vectors(1, 8), 200, axis=0), 1.0)
    call = {"precision": "bfloat16_3x", "seed": 5, "devices": jax.devices()[:num_devices]}
    assert_same(
        scan_pairs(same, 200, 30, tile_size=48, **call),
        scan_fused(monkeypatch, same, 200, 30, tile_size=48, **call),
    )
    tiny = scorers.threshold_scorer(unit_vectors(3, 8), 0.0)
    assert_same(scan_pairs(tiny, 3, 9, **call), scan_fused(monkeypatch, tiny, 3, 9, **call))
    # More ties than are kept, in tiles that cannot be listed: the hash draws from all of them.
    few = same._replace(band_pairs=0)
    monkeypatch.setattr(fused_pass, "_MIN_LISTED", 4)
    sides = spy_on_sides(monkeypatch)
    assert_same(
        scan_pairs(few, 200, 3, tile_size=40, **call),
        scan_fused(monkeypatch, few, 200, 3, tile_size=40, **call),
    )
    assert set(sides) == {40, 8}


def test_more_pairs_than_the_pool_may_be_asked_for(monkeypatch):
    scorer = scorers.threshold_scorer(unit_vectors(60, 20), 0.1)
    call = {"precision": "bfloat16_3x", "tile_size": 48}
    found = scan_fused(monkeypatch, scorer, 60, 10**12, **call)
    assert_same(scan_pairs(scorer, 60, 60 * 59 // 2, **call), found)


def test_a_second_scan_of_the_same_shapes_compiles_nothing(monkeypatch):
    call = {"precision": "bfloat16_3x", "tile_size": 48}
    with count_compilations() as compiled:
        for seed, tau in ((0, 0.1), (1, 0.2)):
            scorer = scorers.threshold_scorer(unit_vectors(301, 20, seed), tau)
            scan_fused(monkeypatch, scorer, 301, 40, **call)
    assert compiled["_find_everywhere"] == 1


class FakeGpu:
    platform = "gpu"

    def __init__(self, compute_capability="9.0"):
        self.compute_capability = compute_capability


def test_the_kernel_is_for_nvidia_bfloat16_and_dot_products_that_cannot_overflow():
    scorer, grid = scorers.threshold_scorer(unit_vectors(30, 8), 0.1), make_grid(30, 16)
    three, full = scorers.precision_named("bfloat16_3x"), scorers.precision_named("float32")
    assert fused_pass.is_fusible(scorer, grid, 55, three, [FakeGpu()])
    assert not fused_pass.is_fusible(scorer, grid, 55, full, [FakeGpu()])
    for other in ("gfx942", "8.9", "12.0", ""):
        assert not fused_pass.is_fusible(scorer, grid, 55, three, [FakeGpu(), FakeGpu(other)])
    assert not fused_pass.is_fusible(scorer, grid, 55, three, jax.devices())
    long = scorers.threshold_scorer(unit_vectors(30, 8) * np.float32(1e16), 0.1)
    assert not fused_pass.is_fusible(long, grid, 55, three, [FakeGpu()])
    assert fused_pass.is_fusible(scorer, grid, 2**24, three, [FakeGpu()])
    assert not fused_pass.is_fusible(scorer, grid, 2**24 + 1, three, [FakeGpu()])
    logits = scorers.classifier_scorer(*classifier(30))
    assert not fused_pass.is_fusible(logits, grid, 55, three, [FakeGpu()])


def test_more_numbers_than_the_kernel_can_address_go_through_xla():
    scorer, three = (
        scorers.threshold_scorer(unit_vectors(30, 256), 0.1),
        scorers.precision_named("bfloat16_3x"),
    )
    for num_images, is_fusible in ((8_388_000, True), (8_389_000, False)):
        many = scorer._replace(images=np.broadcast_to(np.float32(0), (num_images, 256)))
        grid = make_grid(num_images, 8192, 256)
        assert fused_pass.is_fusible(many, grid, 55, three, [FakeGpu()]) == is_fusible


def test_no_call_takes_more_pairs_than_int32_counts():
    scorer, mesh = (
        scorers.threshold_scorer(unit_vectors(30, 8), 0.1),
        jax.sharding.Mesh(jax.devices()[:1], "x"),
    )
    for tile_size, tiles_at_once in ((8192, 16), (16384, 7), (40000, 1)):
        grid = TileGrid(100_000, tile_size, 3)
        finder = fused_pass.make_finder(grid, mesh, jnp.asarray(scorer.images), jnp.float32(0), 3, 100)
        assert finder.tiles_at_once == tiles_at_once
    huge = TileGrid(100_000, 50_000, 2)
    assert not fused_pass.is_fusible(scorer, huge, 55, scorers.precision_named("bfloat16_3x"), [FakeGpu()])


def classifier(num_images, widths=(40, 24, 20, 1), seed=0):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    layers = [(draw(a, b) / np.float32(np.sqrt(a)), draw(b)) for a, b in itertools.pairwise(widths)]
    return draw(num_images, widths[0]), draw(num_images, widths[0]), layers


def float64_logits(as_first, as_second, layers):
    values = np.maximum(as_first[:, None].astype(np.float64) + as_second[None], 0.0)
    for kernel, bias in layers[:-1]:
        values = np.maximum(values @ kernel.astype(np.float64) + bias, 0.0)
    return (values @ layers[-1][0].astype(np.float64) + layers[-1][1])[..., 0]


@given(size=st.sampled_from([(1, 1), (7, 40), (20, 33)]), seed=st.integers(0, 99))
def test_fused_logits_are_those_of_float64_within_bfloat16(size, seed):
    rows, columns = size
    as_first, as_second, layers = classifier(max(rows, columns), seed=seed)
    found = compiled_logits(
        jnp.asarray(as_first[:rows]), jnp.asarray(as_second[:columns]), layers, shape=PAIRS, interpret=True
    )
    expected = float64_logits(as_first[:rows], as_second[:columns], layers)
    assert found.shape == expected.shape
    # Four roundings to 8 bits on the way, of values around 1.
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.1)


def test_widths_are_padded_to_the_next_power_of_two():
    widths = (1, 16, 17, 32, 200, 256)
    assert [_power_of_two(width) for width in widths] == [16, 16, 32, 32, 256, 256]


def test_which_classifiers_the_kernel_knows():
    def fits_tile(*widths, side=2048):
        images = jax.ShapeDtypeStruct((side, widths[0]), jnp.float32)
        return fits(images, images, classifier(1, widths)[2])

    assert fits_tile(512, 256, 256, 1)
    assert fits_tile(100, 24, 20, 1)
    assert not fits_tile(512, 512, 256, 1)
    assert not fits_tile(512, 256, 1)
    assert not fits_tile(512, 256, 256, 256, 1)
    assert fits_tile(512, 256, 256, 1, side=46_000)
    assert not fits_tile(512, 256, 256, 1, side=46_341)


def test_logits_of_a_large_tile_are_computed_some_rows_at_a_time(monkeypatch):
    as_first, as_second, layers = classifier(30)
    rows = (jnp.asarray(as_first), jnp.asarray(as_second))
    whole = scorers.logits_by_layers(*rows, layers, jax.lax.Precision.HIGHEST)
    monkeypatch.setattr(scorers, "_HIDDEN_AT_ONCE", 100)
    parts = scorers.logits_by_layers(*rows, layers, jax.lax.Precision.HIGHEST)
    assert "scan" in str(
        jax.make_jaxpr(scorers.logits_by_layers, static_argnums=3)(*rows, layers, jax.lax.Precision.HIGHEST)
    )
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(parts, float64_logits(as_first, as_second, layers), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="Triton's part of jaxlib is built for Linux")
def test_both_kernels_are_lowered_for_cuda_without_a_gpu(monkeypatch):
    monkeypatch.setattr(scorers, "has_room", lambda device: True)
    array = jax.ShapeDtypeStruct
    number = array((), jnp.float32)
    operand = array((100_128, 256), jnp.bfloat16)
    distances = jax.jit(functools.partial(find_pairs, tile_size=8192, capacity=65536, shape=FusedShape()))
    cells = array((16, 4), jnp.int32)
    lowered = distances.trace((operand, operand), cells, number, number).lower(lowering_platforms=("cuda",))
    assert "find_pairs" in lowered.as_text()
    scorer = scorers.classifier_scorer(*classifier(1, (512, 256, 256, 1)))
    images = array((2048, 512), jnp.float32)
    algorithm = scorers.PRECISIONS["bfloat16"].algorithm
    logits = jax.jit(lambda a, b: scorer.score_tile((a, a), (b, b), scorer.params, algorithm))
    assert "fused_logits" in logits.trace(images, images).lower(lowering_platforms=("cuda",)).as_text()
    assert "fused_logits" not in logits.trace(images, images).lower(lowering_platforms=("cpu",)).as_text()
