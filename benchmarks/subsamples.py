"""Compare systems on archives of other sizes and with unbalanced classes, made by sub-sampling.

  python benchmarks/subsamples.py --workdir=runs/subsamples                  # every shape, seeds 0 to 2
  python benchmarks/subsamples.py --workdir=runs/subsamples --shapes=ucm:power_law --seeds=5

A shape is ARCHIVE:FORM. Each seed draws its own sub-sample of the archive's features and labels, kept as
`embeddings:` in the workdir, then runs the recipe of launch/configs on it, with no setting changed but the
budgets: 30, 60 and 90 questions per hundred training tiles, or as many as --rounds says. Finished runs are
only read. One table per shape: mAP@5 over min(k, R), mean and half of the 95% t interval over seeds, and
below it the difference from each baseline, paired by seed.
"""

import argparse
import dataclasses
import pathlib

import numpy as np
from paired import interval

from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.experiments.grid import FailedCell, run_grid
from anneal_jax.training.factory import make_learner

MOBILENET = {
    "backbone": "mobilenet_v2",
    "pretrained": "../shared/weights/mobilenet_v2_1.0_224_imagenet.npz",
}

SOURCES = {
    "ucm": {"archive": "folder:../shared/data/ucm", **MOBILENET},
    "rsscn7": {"archive": "folder:../shared/data/rsscn7", **MOBILENET},
    "digits": {"archive": "digits", "backbone": "pixels", "steps": 300},
}

SHAPES = (
    "ucm:power_law",
    "ucm:seven_classes",
    "ucm:400_tiles",
    "ucm:30_each",
    "rsscn7:power_law",
    "rsscn7:400_tiles",
    "digits:power_law",
    "digits:400_tiles",
)

SYSTEMS = "belief_ask,group_ask,random_labels,class_labels"

TRAIN_FRACTION = 0.8
BITS_PER_TILE = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--systems", default=SYSTEMS)
    parser.add_argument("--rounds", type=int, default=3, help="budgets, each 30 questions per 100 tiles")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first_seed", type=int, default=0)
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    systems = arguments.systems.split(",")
    for shape in arguments.shapes.split(","):
        folder = arguments.workdir / shape.replace(":", "_")
        cells = [cells_of(shape, seed, systems, folder, arguments.rounds) for seed in seeds]
        print(table(shape, systems, cells), flush=True)


def cells_of(shape, seed, systems, folder, num_rounds):
    """Run every system on one seed's sub-sample; return each one's rows by name."""
    source, _, form = shape.partition(":")
    config = ExperimentConfig(**SOURCES[source], seed=seed)
    place = folder / f"archive_{seed}.npz"
    if not place.exists():
        save_subsample(config, form, place)
    num_train = TRAIN_FRACTION * len(np.load(place)["labels"])
    questions = round(BITS_PER_TILE * num_train)
    config = dataclasses.replace(
        config,
        archive=f"embeddings:{place}",
        train_fraction=TRAIN_FRACTION,
        initial_draw="random",
        initial_fraction=questions / 8 / num_train,  # eight partners each
        pairs_per_round=questions,
        rounds=num_rounds - 1,
    )
    rows = {}
    for cell in run_grid(config, systems, [seed], folder):
        if isinstance(cell, FailedCell):
            raise SystemExit(f"error: {cell.system} seed {cell.seed}: {cell.reason}")
        rows[cell.system] = cell.rows
    return rows


def save_subsample(config, form, place):
    """Draw a sub-sample of an archive's features and labels."""
    dataset = load_dataset(config)
    learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
    tiles = subsample(dataset.labels, form, np.random.default_rng(config.seed))
    place.parent.mkdir(parents=True, exist_ok=True)
    features = np.asarray(learner.features(None))[tiles]
    np.savez(place, embeddings=features, labels=dataset.labels[tiles])


def subsample(labels, form, rng):
    """Return the tiles of a sub-sample, sorted."""
    num_classes = int(labels.max()) + 1
    if form.endswith("_tiles"):
        return np.sort(rng.choice(len(labels), int(form.removesuffix("_tiles")), replace=False))
    sizes = {
        # From 100 tiles to 6, which class is large left to chance.
        "power_law": 100 * np.arange(1, num_classes + 1) ** (np.log(0.06) / np.log(num_classes)),
        "seven_classes": np.where(np.arange(num_classes) < 7, len(labels), 0),
    }.get(form)
    if form.endswith("_each"):
        sizes = np.full(num_classes, int(form.removesuffix("_each")))
    if sizes is None:
        raise SystemExit(f"error: there is no form {form!r}; give one of those in {', '.join(SHAPES)}.")
    sizes = np.rint(rng.permutation(sizes)).astype(int)
    orders = [rng.permutation(np.flatnonzero(labels == number)) for number in range(num_classes)]
    return np.sort(np.concatenate([order[:size] for order, size in zip(orders, sizes, strict=True)]))


def table(shape, systems, cells):
    """Write a shape's figures; what is trained once is reported in a sentence."""
    curves = {name: np.array([figures(rows[name]) for rows in cells]) for name in systems}
    bits = np.mean([[row["bits_spent"] for row in rows["belief_ask"]] for rows in cells], axis=0)
    frozen = np.array([rows["belief_ask"][0]["mean_average_precision_at_5_features"] for rows in cells])
    lines = [f"{shape}, {len(cells)} seeds. Features alone: {interval(frozen)}."]
    lines += [f"{name}: {interval(c[:, 0])}." for name, c in curves.items() if c.shape[1] == 1]
    lines += ["", "| bits | " + " | ".join(f"{count:,.0f}" for count in bits) + " |"]
    lines += ["|---" * (len(bits) + 1) + "|"]
    baselines = {name: curve for name, curve in curves.items() if curve.shape[1] == len(bits)}
    lines += [line(name, curve, "") for name, curve in baselines.items()]
    asked = curves["belief_ask"]
    lines += [
        line(f"less {name}", asked - curve, "+")
        for name, curve in baselines.items()
        if name != "belief_ask"
    ]
    return "\n".join([*lines, line("less the features", asked - frozen[:, None], "+"), ""])


def figures(rows):
    """Return the figure of each round."""
    return [row["mean_average_precision_at_5"] for row in rows]


def line(name, curve, sign):
    """Write a row of the table."""
    return f"| {name} | " + " | ".join(interval(column, sign) for column in curve.T) + " |"


if __name__ == "__main__":
    main()
