"""Compares other people's ways to group an archive by questions with this project's.

  pip install 'anneal-jax[rivals]'
  python benchmarks/rivals.py                                        # UC Merced and RSSCN7, truthful
  python benchmarks/rivals.py --person=erring                        # 5% wrong and 5% unsure
  python benchmarks/rivals.py --methods=belief_ask --fresh           # its rows again, after a change

| method | source | what it knows besides features and answers |
|---|---|---|
| belief_ask | this project | nothing |
| group_ask | this project, the plain baseline | nothing |
| cobras | `cobras-ts`, by the authors of Van Craenendonck et al. (2018) | nothing |
| npu | `scikit-query`, Xiong, Azimi & Fern (2014), with PCKMeans | the number of classes |
| minmax | `scikit-query`, Mallapragada et al. (2008), with PCKMeans | the number of classes |
| aipc | `scikit-query`, Zhong et al. (2019), with PCKMeans | the number of classes |

Rivals group rows of unit length: the frozen features minus their mean. `rand` is the adjusted Rand index of
groups and classes over the training tiles; `right` the share of training tiles whose group is of their
class. A group of this project has the class of most of its settled tiles, a group of a rival that of most
of all its tiles, which favours the rivals. `map_at_5` is that of held-out queries over min(k, R), by this
project's learner trained on the groups. A rival has no doubts by which to weigh the features, so the better
of two embeddings counts: what was learnt alone, and half of each; this favours the rivals again. Every
answer costs a bit, including unsure ones. Unsure counts as no, but scikit-query skips the tile.

Differences from the published rivals:
  cobras: version 0.1.3 uses a type that NumPy 1.24 removed; the name is defined while it runs.
  PCKMeans, npu, minmax: the inner loops are arrays with the same results (tests/test_rivals.py).
  npu: PCKMeans is fitted again after 50 answers, not after each tile.
  graphid 0.1.2, made for people who err, is missing: it needs `xdoctest`, which it does not declare, and
    its class `GraphID` raises an AttributeError when its groups are read.

Each archive, method, person and seed is one JSON line; a second call only computes missing lines.
"""

import argparse
import functools
import json
import pathlib
import time

import numpy as np
from paired import interval
from partitions.cobras import cobras
from partitions.interface import Archive, root_weights, unit
from partitions.ours import belief_ask, group_ask
from partitions.scikit_query import aipc, minmax, npu
from sklearn.metrics import adjusted_rand_score

from anneal_jax.config import ExperimentConfig
from anneal_jax.evaluation.retrieval_quality import evaluate_retrieval
from anneal_jax.experiments.belief_rounds import open_belief_session
from anneal_jax.experiments.dataset import Dataset, load_dataset
from anneal_jax.files.atomic import replacing
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.training.factory import make_learner
from anneal_jax.training.learner import Learner, centred, represent
from anneal_jax.training.start import settle_side, settle_start

METHODS = {method.__name__: method for method in (belief_ask, group_ask, cobras, npu, minmax, aipc)}
"""Each yields a `Found` at each of its budgets."""

ERRORS = {"truthful": (0.0, 0.0), "erring": (0.05, 0.05)}
"""Shares of wrong and of unsure answers."""

BACKBONES = {
    "mobilenet_v2": {
        "backbone": "mobilenet_v2",
        "pretrained": "../shared/weights/mobilenet_v2_1.0_224_imagenet.npz",
    },
    "efficientnet_lite0": {"backbone": "efficientnet_lite0", "pretrained": "package"},
}

FEATURE_SHARES = (0.0, 0.5)
"""Shares of the features beside what was learnt, for methods without doubt of their own."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archives", default="folder:../shared/data/ucm,folder:../shared/data/rsscn7")
    parser.add_argument("--backbone", default="mobilenet_v2", choices=list(BACKBONES))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--person", default="truthful", choices=list(ERRORS))
    parser.add_argument("--seeds", default="100,101,102")
    parser.add_argument("--bits", default="50,100,150,168,300,500,1000")
    parser.add_argument("--train_at", default="168,500,1000", help="bits at which mAP@5 is measured")
    parser.add_argument("--fresh", action="store_true", help="compute these rows again")
    parser.add_argument("--rows", type=pathlib.Path, default=pathlib.Path("docs/measured/rivals.jsonl"))
    arguments = parser.parse_args()
    for archive in arguments.archives.split(","):
        for method in arguments.methods.split(","):
            rows = [kept_row(arguments, archive, method, int(seed)) for seed in arguments.seeds.split(",")]
            report(archive, method, arguments.person, rows)


def kept_row(arguments, archive, method, seed):
    """Return a row from the file, or compute it and put it there."""
    name = {"archive": archive, "backbone": arguments.backbone, "method": method}
    name |= {"person": arguments.person, "seed": seed}
    name |= {"bits": arguments.bits, "train_at": arguments.train_at}
    rows = []
    if arguments.rows.exists():
        rows = [json.loads(text) for text in arguments.rows.read_text("utf-8").splitlines()]
    kept = [row for row in rows if name.items() <= row.items()]
    if kept and not arguments.fresh:
        return kept[0]
    row = name | one_run(arguments, archive, method, seed)
    rows = [other for other in rows if other not in kept]
    with replacing(arguments.rows) as path:
        path.write_text("".join(json.dumps(other) + "\n" for other in [*rows, row]), "utf-8")
    return row


def one_run(arguments, name, method, seed):
    """Let a method ask; return its figures at each budget, or why there are none."""
    dataset, learner, archive = opened(name, seed, arguments.backbone)
    tiles, budgets = archive.session.tiles, [int(bits) for bits in arguments.bits.split(",")]
    oracle = ClassOracle(dataset.labels, *ERRORS[arguments.person], seed)
    figures, start = [], time.process_time()

    def ask(first, second):
        return oracle(*sorted((int(tiles[first]), int(tiles[second]))))

    np.random.seed(seed)  # noqa: NPY002, the rivals draw from it
    try:
        for place, found in enumerate(METHODS[method](archive, ask, budgets)):
            figures.append({"budget": budgets[place], "asked": found.bits})
            figures[-1] |= judged(found, dataset.labels[tiles])
            if str(budgets[place]) in arguments.train_at.split(","):
                figures[-1] |= trained(found, dataset, learner, tiles)
    except Exception as error:  # foreign code may fail in any way, and a failure is a result
        return {"figures": figures, "failed": f"{type(error).__name__}: {error}"}
    return {"figures": figures, "processor_s": round(time.process_time() - start, 1)}


@functools.lru_cache(maxsize=1)
def opened(name: str, seed: int, backbone: str) -> tuple[Dataset, Learner, Archive]:
    """Open an archive once for all methods."""
    config = settle_start(ExperimentConfig(archive=name, seed=seed, **BACKBONES[backbone]))
    dataset = load_dataset(config)
    config = settle_side(config, dataset.archive)
    learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
    session = open_belief_session(config, dataset, learner)
    features = unit(centred(learner.features(None), dataset.split.train)[session.tiles])
    num_classes = len(np.unique(dataset.labels[session.tiles]))
    return dataset, learner, Archive(features, num_classes, session, seed)


def judged(found, classes):
    """Compare a partition with the classes."""
    naming = slice(None) if found.is_settled is None else found.is_settled
    counts = np.zeros((found.groups.max() + 1, classes.max() + 1))
    np.add.at(counts, (found.groups[naming], classes[naming]), 1)
    return {
        "groups": len(np.unique(found.groups)),
        "rand": round(float(adjusted_rand_score(classes, found.groups)), 5),
        "right": round(float(np.mean(np.argmax(counts, axis=1)[found.groups] == classes)), 5),
    }


def trained(found, dataset, learner, tiles):
    """Train on a partition; return the mAP@5 of queries by the embedding."""
    weights = root_weights(found.groups) if found.weights is None else found.weights
    drawn = np.flatnonzero(weights)
    params = learner.fit_classes(tiles[drawn], found.groups[drawn].astype(np.int32), weights=weights[drawn])
    shares = FEATURE_SHARES if found.doubt is None else [found.doubt]
    vectors = (represent(learner, learner.beside_features(params, share)).embeddings for share in shares)
    return {
        "map_at_5": max(
            round(evaluate_retrieval(each, dataset.labels, dataset.split).mean_average_precision, 5)
            for each in vectors
        )
    }


def report(archive, method, person, rows):
    """Print a method's figures, mean and half of the 95% t interval over the seeds."""
    for row in rows:
        if "failed" in row:
            print(f"{archive} {method} {person} seed {row['seed']} failed: {row['failed']}", flush=True)
    for figures in zip(*(row["figures"] for row in rows), strict=False):
        texts = [
            f"{name} {interval([one[name] for one in figures])}"
            for name in ("rand", "right", "map_at_5")
            if name in figures[0]
        ]
        groups = np.mean([one["groups"] for one in figures])
        head = f"{archive} {method} {person} {figures[0]['budget']:5,d} bits  {groups:4.0f} groups"
        print(head, *texts, sep="  ", flush=True)


if __name__ == "__main__":
    main()
