import numpy as np
import pytest

NUM_IMAGES = 9


@pytest.fixture
def embeddings():
    vectors = np.random.default_rng(0).normal(size=(NUM_IMAGES, 3)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
