"""Convolution and pooling against plain NumPy, forwards and backwards."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.models.convolution import conv_general_dilated, max_pool
from tests.reference.networks import conv


def _convolve(images, kernel, stride, padding):
    pads = (padding, padding)
    dimensions = jax.lax.conv_dimension_numbers(images.shape, kernel.shape, ("NHWC", "HWIO", "NHWC"))
    return conv_general_dilated(
        images, kernel, (stride, stride), (pads, pads), dimension_numbers=dimensions
    )


@functools.partial(jax.jit, static_argnums=(3, 4))
def _with_gradients(images, kernel, outer, stride, padding):
    found, pull = jax.vjp(lambda i, k: _convolve(i, k, stride, padding), images, kernel)
    return found, *pull(outer)


# Height, width, channels, side of the kernel, stride, padding; each is compiled once.
CASES = [
    (3, 8, 1, 1, 1, 0),
    (8, 5, 3, 1, 2, 0),
    (7, 4, 40, 1, 3, 1),
    (6, 3, 3, 2, 1, 1),
    (5, 8, 1, 2, 2, 0),
    (4, 7, 40, 3, 1, 1),
    (8, 8, 3, 3, 1, 0),
    (7, 6, 3, 3, 2, 1),
    (3, 3, 40, 3, 3, 0),
]


@given(case=st.sampled_from(CASES), seed=st.integers(0, 99))
def test_it_and_both_gradients_match_the_twin(case, seed):
    height, width, channels, size, stride, padding = case
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(2, height, width, channels)).astype(np.float32)
    kernel = rng.normal(size=(size, size, channels, 5)).astype(np.float32)
    pads = (padding, padding)
    expected = conv(images, kernel, stride, pads)
    outer = rng.normal(size=expected.shape).astype(np.float32)
    found, of_images, of_kernel = _with_gradients(images, kernel, outer, stride, padding)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # It is linear in each argument, so that a gradient is what the twin makes of any direction.
    direction = rng.normal(size=images.shape)
    slope = np.sum(conv(direction, kernel, stride, pads) * outer)
    np.testing.assert_allclose(np.sum(of_images * direction), slope, atol=2e-3)
    direction = rng.normal(size=kernel.shape)
    slope = np.sum(conv(images, direction, stride, pads) * outer)
    np.testing.assert_allclose(np.sum(of_kernel * direction), slope, atol=2e-3)


def test_a_cpu_takes_products_for_the_kernels_gradient():
    images, kernel = jnp.ones((1, 6, 6, 40)), jnp.ones((3, 3, 40, 8))
    gradient = jax.grad(lambda k: jnp.sum(_convolve(images, k, 1, 1) ** 2))
    num_convolutions = str(jax.make_jaxpr(gradient)(kernel)).count("= conv_general_dilated")
    num_products = str(jax.make_jaxpr(gradient)(kernel)).count("= dot_general")
    if jax.default_backend() == "cpu":
        assert num_products == 9
    else:
        assert (num_products, num_convolutions) == (0, 2)


@jax.jit
def _pool_with_gradient(images, outer):
    found, pull = jax.vjp(max_pool, images)
    return found, *pull(outer)


@given(
    size=st.sampled_from([(1, 1, 1), (1, 6, 3), (7, 2, 2), (4, 5, 1), (7, 6, 3)]), seed=st.integers(0, 99)
)
def test_maxima_of_windows_and_where_their_gradient_goes(size, seed):
    (height, width, channels), rng = size, np.random.default_rng(seed)
    # All values differ, so that each window has one maximum.
    images = rng.permutation(2 * height * width * channels).reshape(2, height, width, channels)
    images = images.astype(np.float32) - images.size / 2
    outer = rng.normal(size=(2, -(-height // 2), -(-width // 2), channels)).astype(np.float32)
    found, of_images = _pool_with_gradient(images, outer)
    maxima, gradient = np.empty(found.shape), np.zeros(images.shape)
    for n, y, x, c in np.ndindex(found.shape):
        rows, columns = slice(max(2 * y - 1, 0), 2 * y + 2), slice(max(2 * x - 1, 0), 2 * x + 2)
        window = images[n, rows, columns, c]
        maxima[n, y, x, c] = window.max()
        gradient[n, rows, columns, c] += outer[n, y, x, c] * (window == window.max())
    np.testing.assert_array_equal(found, maxima)
    np.testing.assert_allclose(of_images, gradient, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_equal_maxima_have_one_gradient_among_them(value):
    images = np.full((1, 3, 3, 1), value, np.float32)
    _, gradient = _pool_with_gradient(images, np.ones((1, 2, 2, 1), np.float32))
    assert np.sum(gradient) == pytest.approx(4.0)
    assert np.all(np.asarray(gradient) >= 0)
