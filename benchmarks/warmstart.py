"""Measure a self-supervised warm start: frozen features before and after it, on tiles it did not see.

    python benchmarks/warmstart.py --archive=digits --image-size=16 --epochs=40 --no-turns
    python benchmarks/warmstart.py --archive=folder:../shared/data/ucm --image-size=32 --epochs=20
    python benchmarks/warmstart.py --archive=bands --image-size=16 --epochs=40

Only training tiles of the split take part in the warm start. mAP@5 is that of query tiles in the searched
part, by the cosine of centred features; linear accuracy is that of a logistic regression on the query
tiles, fitted to labelled training tiles. `bands` are made here: tiles of 13 bands in four classes, which
differ in how bands are related.
"""

import argparse
import json
import pathlib
import time

import jax
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from anneal_jax.data.archives import open_archive, require_classes
from anneal_jax.data.splits import Split, duplicate_groups, split_images
from anneal_jax.evaluation.retrieval_quality import evaluate_retrieval
from anneal_jax.models.backbones import Backbone, get_backbone, scaled_by
from anneal_jax.training.encoding import encode
from anneal_jax.training.feed import ResidentFeed, make_mesh
from anneal_jax.training.learner import centred
from anneal_jax.training.warmstart import STRENGTH, WarmStartSettings, warm_start

NUM_BANDS, NUM_CLASSES, TILES_PER_CLASS = 13, 4, 150


def main() -> None:
    options = _options()
    images, labels, split = _tiles(options)
    rows = []
    for seed in range(options.seeds):
        backbone = _standardised(get_backbone(options.backbone, **_bands(images)), images[split.train])
        start = backbone.init(jax.random.key(seed), options.image_size)
        for method in ("random", *options.methods):
            began = time.process_time()
            variables, spread = start, None
            if method != "random":
                settings = WarmStartSettings(
                    method=method,
                    epochs=options.epochs,
                    batch_size=options.batch_size,
                    seed=seed,
                    strength=STRENGTH._replace(turns=options.turns),
                )
                feed = ResidentFeed(images, make_mesh())
                variables, _, spread = warm_start(backbone, start, feed, split.train, settings)
            found = _quality(encode(backbone, variables, images), labels, split)
            row = {"seed": seed, "start": method, **found, "spread": spread}
            row["cpu_s"] = time.process_time() - began
            rows.append(row)
            print("  ".join(f"{name} {_shown(value)}" for name, value in row.items()), flush=True)
    if options.json:
        facts = {name: str(value) for name, value in vars(options).items()}
        options.json.write_text(json.dumps({"options": facts, "rows": rows}, indent=2) + "\n")


def _quality(features: np.ndarray, labels: np.ndarray, split: Split) -> dict[str, float]:
    vectors = centred(features, split.train)
    scaler = StandardScaler().fit(features[split.train])
    probe = LogisticRegression(max_iter=300).fit(
        scaler.transform(features[split.train]), labels[split.train]
    )
    accuracy = probe.score(scaler.transform(features[split.query]), labels[split.query])
    return {
        "mAP@5": evaluate_retrieval(vectors, labels, split).mean_average_precision,
        "linear_accuracy": float(accuracy),
    }


def _tiles(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, Split]:
    if options.archive == "bands":
        images, labels = banded_tiles(np.random.default_rng(0), options.image_size)
        return images, labels, split_images(len(labels), seed=options.split_seed)
    archive = open_archive(options.archive)
    images = archive.load(np.arange(len(archive.ids)), options.image_size)
    groups = duplicate_groups(archive.digests())
    return (
        images,
        require_classes(archive),
        split_images(len(images), seed=options.split_seed, groups=groups),
    )


def banded_tiles(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8[N, H, H, 13] and the classes int32[N].

    All bands of a tile show one random landscape, each with its own brightness, contrast and noise, as with
    haze. In one of bands 9 to 12 the landscape is inverted; the class is the number of this band.
    """
    labels = np.repeat(np.arange(NUM_CLASSES, dtype=np.int32), TILES_PER_CLASS)
    coarse = rng.normal(size=(len(labels), 4, 4))
    landscape = np.kron(coarse, np.ones((1, -(-size // 4), -(-size // 4))))[:, :size, :size, None]
    signs = np.ones((len(labels), 1, 1, NUM_BANDS))
    signs[np.arange(len(labels)), 0, 0, 8 + labels] = -1
    shape = (len(labels), 1, 1, NUM_BANDS)
    contrast, level = rng.uniform(10, 40, shape), rng.uniform(80, 170, shape)
    noise = rng.normal(scale=15, size=(len(labels), size, size, NUM_BANDS))
    values = level + contrast * signs * landscape + noise
    return np.clip(np.rint(values), 0, 255).astype(np.uint8), labels


def _bands(images: np.ndarray) -> dict:
    num_bands = images.shape[-1]
    return {"num_bands": num_bands, "rgb_bands": (0, 1, 2) if num_bands == 3 else None}


def _standardised(backbone: Backbone, images: np.ndarray) -> Backbone:
    mean, spread = (float(np.mean(statistic)) for statistic in (images, images.std(axis=(0, 1, 2))))
    return scaled_by(backbone, (mean,) * 3, (spread,) * 3, images.shape[-1])


def _shown(value: float | str | None) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure frozen features before and after a warm start.")
    parser.add_argument("--archive", default="digits", help="as for launch/run.py, or bands")
    parser.add_argument("--backbone", default="tiny_cnn")
    parser.add_argument("--image-size", type=int, default=16, help="side of the tiles, pixels")
    parser.add_argument("--methods", nargs="*", default=["simsiam", "vicreg"])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=1, help="of weights and draws")
    parser.add_argument("--split-seed", type=int, default=100)
    parser.add_argument("--turns", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
