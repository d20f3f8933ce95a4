"""An epoch of training the whole network on pairs, beside PyTorch: time, tiles/s, matrix rate, memory.

    python benchmarks/training.py --json=training.json
    .parity-venv/bin/python benchmarks/training.py    # the environment of scripts/parity has PyTorch

The pairs are the first that a run asks about. Weights are random, batch norm stays at its stored
statistics, the optimiser is Adam. All ways take turns in one process, and the best turn of each counts.

- `anneal` encodes each tile of a batch once, as `--config.regime=finetune` does.
- `torch two towers` is the plain Siamese loop: a DataLoader of pairs, both images through one network.
- `torch best` has the tiles on the device, channels last, both images of all pairs in one call, cuDNN's
  search for the fastest convolutions and, on a GPU, bfloat16 autocast; a CPU without units for bfloat16 is
  many times slower in it.

Two towers encode two tiles a pair. `tiles/s` counts these for every way, however it gets them. `encoded/s`
counts what a way encodes in fact, padding included: by that other programs count, and a target of 25,000 a
second means it. The share of the matrix rate is that of three forward passes over these, as XLA counts
their operations, against a float32 product of --matrix numbers a side, measured in the same run.
"""

import argparse
import importlib.util
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.experiments.selection import draw_first_pairs
from anneal_jax.models.backbones import Backbone, get_backbone
from anneal_jax.seeds import Use, host_rng
from anneal_jax.training.feed import ResidentFeed, make_mesh
from anneal_jax.training.finetune import FinetuneLearner, FinetunePlan
from anneal_jax.training.frozen import FrozenLearner
from anneal_jax.training.head_steps import FitSettings
from anneal_jax.training.learner import TrainingPairs
from anneal_jax.training.tile_batches import draw_pair_tiles, pair_shape

LEARNING_RATE, MARGIN, BETA = 1e-4, 0.1, 0.1


def main() -> None:
    options = _options()
    images, pairs = _data(options)
    if options.alone:
        print(json.dumps(_memory_mb(options, images, pairs)))
        return
    ways = {name: make(options, images, pairs) for name, make in _ways(options).items()}
    matrix_flops = _matrix_rate(options.matrix)
    times = _alternate(ways, options.turns)
    flops = _forward_flops(options)
    passes = 2 * len(pairs.labels)
    memory = _memory_of_all(options, ways, images, pairs)
    rows = []
    for name, (seconds, cpu_s) in times.items():
        encoded = _encoded(options, pairs) if name.startswith("anneal") else passes
        rate = 3 * flops * encoded / seconds
        row = {"way": name, "epoch_s": seconds, "epoch_cpu_s": cpu_s, "tiles_per_s": passes / seconds}
        row |= {"encoded": encoded, "encoded_per_s": encoded / seconds}
        row |= {"matrix_share": rate / matrix_flops, "peak_mb": memory[name]}
        rows.append(row)
        print(
            "{way:16s} {epoch_s:7.2f} s  {epoch_cpu_s:7.2f} s CPU  {tiles_per_s:8.1f} tiles/s  {encoded:6d}"
            " encoded, {encoded_per_s:8.1f}/s  {matrix_share:5.1%} of the matrix rate".format(**row)
            + (f"  {memory[name]:6.0f} MB" if options.memory else ""),
            flush=True,
        )
    if options.json:
        facts = {name: str(value) for name, value in vars(options).items()}
        facts |= {
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
            "pairs": len(pairs.labels),
        }
        options.json.write_text(json.dumps({**facts, "matrix_flops": matrix_flops, "rows": rows}, indent=2))


def _alternate(ways: dict[str, Callable[[], None]], turns: int) -> dict[str, tuple[float, float]]:
    """Return, for each way, the least seconds and the least CPU seconds of an epoch."""
    best = dict.fromkeys(ways, (float("inf"), float("inf")))
    for _ in range(turns):
        for name, epoch in ways.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            epoch()
            spent = time.perf_counter() - start, time.process_time() - cpu_start
            print(f"{name}: {spent[0]:.2f} s, {spent[1]:.2f} s CPU", file=sys.stderr, flush=True)
            best[name] = tuple(min(pair) for pair in zip(best[name], spent, strict=True))
    return best


def _data(options: argparse.Namespace) -> tuple[np.ndarray, TrainingPairs]:
    """Return the tiles that the first pairs name, uint8[M, H, H, 3], and these pairs, numbered by them."""
    if options.data:
        with np.load(options.data) as stored:
            return stored["images"], TrainingPairs(stored["pair_indices"], stored["labels"])
    config = ExperimentConfig(archive=options.archive, seed=options.seed)
    dataset = load_dataset(config)
    drawn = draw_first_pairs(config, dataset)
    labels = (dataset.labels[drawn[:, 0]] == dataset.labels[drawn[:, 1]]).astype(np.int8)
    if options.pairs and options.pairs < len(drawn):
        # Those of the first images that have partners, so that tiles repeat as they do among all.
        keep = np.argsort(drawn[:, 0], kind="stable")[: options.pairs]
        drawn, labels = drawn[keep], labels[keep]
    rows, places = np.unique(drawn, return_inverse=True)
    images = dataset.archive.load(rows, options.image_size)
    return images, TrainingPairs(places.reshape(-1, 2).astype(np.int32), labels)


def _anneal(options: argparse.Namespace, images: np.ndarray, pairs: TrainingPairs) -> Callable[[], None]:
    backbone, dtype = get_backbone("resnet18"), getattr(options, "compute_dtype", "float32")
    unused = np.zeros((len(images), backbone.feature_dim), np.float32)  # a fit continues, without features
    learner = FinetuneLearner(
        feed=ResidentFeed(images, make_mesh(1)),
        backbone=backbone,
        variables=_random_variables(backbone, options.image_size),
        heads_only=FrozenLearner(
            stored_features=unused,
            mean=unused[0],
            scale=unused[0] + 1,
            train_images=np.arange(len(images), dtype=np.int32),
            with_classifier=True,
            seed=options.seed,
            settings=FitSettings(learning_rate=LEARNING_RATE, margin=MARGIN, beta=BETA),
        ),
        plan=FinetunePlan(1, 1, batch_size=options.batch_size, augment="none", compute_dtype=dtype),
    )
    start, few = learner.template(), TrainingPairs(pairs.pair_indices[:1], pairs.labels[:1])
    learner.fit_pairs(few, 0, start)  # compile
    return lambda: learner.fit_pairs(pairs, 0, start)


def _anneal_bfloat16(
    options: argparse.Namespace, images: np.ndarray, pairs: TrainingPairs
) -> Callable[[], None]:
    half = argparse.Namespace(**{**vars(options), "compute_dtype": "bfloat16"})
    return _anneal(half, images, pairs)


def _random_variables(backbone: Backbone, image_size: int) -> Any:
    """Draw weights without compiling the network's own initialisation, which takes longer than an epoch."""
    shapes = jax.eval_shape(lambda key: backbone.init(key, image_size), jax.random.key(0))
    rng = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        name = path[-1].key
        if name == "kernel":
            return rng.normal(0.0, np.sqrt(2 / np.prod(leaf.shape[:-1])), leaf.shape).astype(np.float32)
        return np.full(leaf.shape, name in ("scale", "var"), np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def _torch_plain(
    options: argparse.Namespace, images: np.ndarray, pairs: TrainingPairs
) -> Callable[[], None]:
    """Return an epoch of the loop that most would write."""
    import torch

    device = _torch_device(torch)
    network = _torch_network(torch).to(device)
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    tiles, labels = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), pairs.labels.astype(np.float32)

    class Pairs(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(labels)

        def __getitem__(self, row: int) -> tuple[Any, Any, Any]:
            first, second = pairs.pair_indices[row]
            return tiles[first], tiles[second], labels[row]

    loader = torch.utils.data.DataLoader(
        Pairs(), options.batch_size, shuffle=True, num_workers=options.workers, pin_memory=device != "cpu"
    )

    def epoch() -> None:
        for batch in loader:
            first, second, targets = (part.to(device, non_blocking=True) for part in batch)
            features = [_torch_features(network, tower) for tower in (first, second)]
            loss = _torch_loss(torch, network, *features, targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        _torch_wait(torch)

    return epoch


def _torch_best(
    options: argparse.Namespace, images: np.ndarray, pairs: TrainingPairs
) -> Callable[[], None]:
    """Return an epoch with the tiles on the device, channels last, in bfloat16, both towers in one call."""
    import torch

    torch.backends.cudnn.benchmark = True  # helps the plain loop too, whose shapes are fixed as well
    device = _torch_device(torch)
    network = _torch_network(torch).to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    tiles = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(
        device, memory_format=torch.channels_last
    )
    indices = torch.from_numpy(pairs.pair_indices.astype(np.int64)).to(device)
    labels = torch.from_numpy(pairs.labels.astype(np.float32)).to(device)

    def epoch() -> None:
        for rows in torch.randperm(len(labels), device=device).split(options.batch_size):
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                features = _torch_features(network, tiles[indices[rows].T.reshape(-1)]).chunk(2)
                loss = _torch_loss(torch, network, *features, labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        _torch_wait(torch)

    return epoch


def _torch_device(torch: Any) -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _torch_wait(torch: Any) -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _torch_features(network: Any, tiles: Any) -> Any:
    return network.backbone((tiles.float() - 120.0) / 58.0)


def _torch_loss(torch: Any, network: Any, of_first: Any, of_second: Any, targets: Any) -> Any:
    """Return ANNEAL's loss of a batch of pairs, by the features of their images."""
    functional = torch.nn.functional
    unit = [functional.normalize(network.similarity(feature), dim=1) for feature in (of_first, of_second)]
    cosines = (unit[0] * unit[1]).sum(dim=1)
    contrastive = torch.where(targets > 0, 1 - cosines, (cosines - MARGIN).clamp(min=0)).mean()
    logits = network.classifier(torch.cat([of_first, of_second], dim=1))[:, 0]
    with torch.autocast(_torch_device(torch), enabled=False):
        classified = functional.binary_cross_entropy_with_logits(logits.float(), targets)
    return (1 - BETA) * contrastive + BETA * classified


def _torch_network(torch: Any) -> Any:
    """Build ResNet-18 without its classification layer, and the two heads."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(inputs, width, 3, stride, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                nn.Conv2d(width, width, 3, 1, 1, bias=False),
                nn.BatchNorm2d(width),
            )
            self.shortcut = nn.Identity()
            if stride > 1 or inputs != width:
                conv = nn.Conv2d(inputs, width, 1, stride, bias=False)
                self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(width))

        def forward(self, tiles: Any) -> Any:
            return (self.body(tiles) + self.shortcut(tiles)).relu()

    def dense(*widths: int) -> Any:
        layers: list[Any] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    layers: list[Any] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    before = 64
    for stage, width in enumerate((64, 128, 256, 512)):
        layers += [Block(before, width, 2 if stage else 1), Block(width, width, 1)]
        before = width
    network = nn.Module()
    network.backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.similarity, network.classifier = dense(512, 512, 256, 256), dense(1024, 512, 256, 256, 1)
    return network.eval()  # batch norm at its stored statistics, as here


_WAYS = {
    "anneal": _anneal,
    "anneal bfloat16": _anneal_bfloat16,
    "torch two towers": _torch_plain,
    "torch best": _torch_best,
}


def _ways(options: argparse.Namespace) -> dict[str, Callable]:
    """Return the requested ways, or all that are useful here; without PyTorch if it is missing."""
    is_cpu = jax.default_backend() == "cpu"
    names = options.ways or [name for name in _WAYS if not (is_cpu and name == "anneal bfloat16")]
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed here, and is left out.", file=sys.stderr)
        names = [name for name in names if not name.startswith("torch")]
    return {name: _WAYS[name] for name in names}


def _encoded(options: argparse.Namespace, pairs: TrainingPairs) -> int:
    """Return the tiles that an epoch encodes, padding included."""
    shape = pair_shape(options.batch_size, 1)
    rng = host_rng(options.seed, 0, Use.BATCHES)
    return shape.num_tiles * len(list(draw_pair_tiles(rng, pairs, shape, epochs=1, oversample=True)))


def _forward_flops(options: argparse.Namespace) -> float:
    """Return floating-point operations of one tile's forward pass, as XLA counts them."""
    backbone = get_backbone("resnet18")
    variables = jax.eval_shape(lambda key: backbone.init(key, options.image_size), jax.random.key(0))
    tile = jax.ShapeDtypeStruct((1, options.image_size, options.image_size, 3), jnp.uint8)
    return jax.jit(backbone.apply).lower(variables, tile).cost_analysis()["flops"]


def _matrix_rate(side: int, turns: int = 3) -> float:
    """Return floating-point operations a second of a float32 product."""
    matrix = jnp.ones((side, side), jnp.float32)
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(matrix, matrix))
    seconds = []
    for _ in range(turns):
        start = time.perf_counter()
        jax.block_until_ready(product(matrix, matrix))
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


def _memory_mb(options: argparse.Namespace, images: np.ndarray, pairs: TrainingPairs) -> float:
    """Return the device's peak after two steps of a way, or by how much they raise that of this process."""
    if options.alone.startswith("torch"):
        import torch
    jax.block_until_ready(jnp.zeros(1))
    before = peak_so_far_mb()
    size = 2 * options.batch_size
    few = TrainingPairs(pairs.pair_indices[:size], pairs.labels[:size])
    _WAYS[options.alone](options, images, few)()
    if options.alone.startswith("torch") and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("peak_bytes_in_use", 0) / 1e6 or peak_so_far_mb() - before


def peak_so_far_mb() -> float:
    """Return the process's own peak; `ru_maxrss` of a child begins with that of its parent."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:"))


def _memory_of_all(
    options: argparse.Namespace, ways: Iterable[str], images: np.ndarray, pairs: TrainingPairs
) -> dict[str, float | None]:
    """Measure the memory of each way in a process of its own."""
    if not options.memory:
        return dict.fromkeys(ways)
    found: dict[str, float | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder, "data.npz")
        np.savez(data, images=images, pair_indices=pairs.pair_indices, labels=pairs.labels)
        for way in ways:
            command = [sys.executable, *sys.argv, f"--alone={way}", f"--data={data}"]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
            found[way] = float(json.loads(done.stdout.splitlines()[-1]))
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure an epoch of training on pairs, beside PyTorch.")
    parser.add_argument("--archive", default="folder:../shared/data/ucm")
    parser.add_argument("--image-size", type=int, default=96, help="side of the tiles, pixels")
    parser.add_argument("--batch-size", type=int, default=128, help="pairs per step")
    parser.add_argument("--pairs", type=int, default=0, help="of the first round; 0 takes all")
    parser.add_argument("--turns", type=int, default=3, help="timed epochs of each way")
    parser.add_argument("--ways", nargs="+", choices=_WAYS, help="by default all that are of use here")
    parser.add_argument("--workers", type=int, default=0, help="processes of PyTorch's DataLoader")
    parser.add_argument("--matrix", type=int, default=2048, help="side of the matrix product")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    parser.add_argument("--alone", help=argparse.SUPPRESS)  # the way whose memory is measured
    parser.add_argument("--data", help=argparse.SUPPRESS)  # tiles and pairs, as the parent decoded them
    return parser.parse_args()


if __name__ == "__main__":
    main()
