"""Compare rules that re-rank results by marks with the ranking without marks.

  python benchmarks/refine.py                             # UC Merced and RSSCN7, seeds 0 to 2
  python benchmarks/refine.py --archives=../shared/data/ucm --queries=20 --seeds=0

A simulated person searches by a tile drawn at random, with centred features of EfficientNet-Lite0. She
marks the first page of 15 results, right if they share the query's class, and errs in one mark of twenty.
Each rule re-ranks the tiles without a mark, she marks its page, and so on for three pages. Each archive and
rule has one line: right results on pages 2 and 3, of 30, and the average precision (AP) of the unmarked
tiles after pages 1 to 3, as means over queries and seeds; the smallest difference from no marks of any
seed; the share of queries with fewer right results than without marks.
"""

import argparse
import json
import pathlib

import numpy as np
from sklearn.linear_model import LogisticRegression

from anneal_jax.annotation.questions.cold_start import unit_directions
from anneal_jax.annotation.refine import TRUST, refine
from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import require_classes
from anneal_jax.experiments.answered_workdir import load_whole_archive
from anneal_jax.training.factory import make_learner

PAGE, PAGES, WRONG = 15, 3, 0.05

LINE = (
    "{rule:26s} {found:5.2f} of 30 right ({gain:+.2f}, worst seed {worst:+.2f}, fewer for {worse:3.0%})"
    "  AP {ap[0]:.3f} {ap[1]:.3f} {ap[2]:.3f}"
)


def no_marks(query, right, wrong):
    return query


def prototype(weight):
    """Rocchio's rule: the mean of query and right results, less some of the mean of the wrong ones."""

    def rule(query, right, wrong):
        mean = np.concatenate([query[None], right]).mean(axis=0)
        return mean - weight * wrong.mean(axis=0) if len(wrong) else mean

    return rule


def logistic(query, right, wrong):
    """Fit a linear classifier to the query and the marks, in their span, which only saves time."""
    if not len(wrong):
        return prototype(0.0)(query, right, wrong)
    marked = np.concatenate([query[None], right, wrong])
    is_right = np.arange(len(marked)) <= len(right)
    basis, _ = np.linalg.qr(marked.T)
    model = LogisticRegression(class_weight="balanced", max_iter=500).fit(marked @ basis, is_right)
    return basis @ model.coef_[0]


def ridge(trust):
    return lambda query, right, wrong: refine(query, right, wrong, trust=trust)


RULES = {
    "no marks": no_marks,
    "logistic regression": logistic,
    **{f"prototype, wrongs x {weight}": prototype(weight) for weight in (0.0, 0.25, 0.5, 1.0)},
    **{f"refine, trust {trust:.2g}": ridge(trust) for trust in (TRUST / 3, TRUST, 3 * TRUST)},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archives", default="../shared/data/ucm,../shared/data/rsscn7")
    parser.add_argument("--queries", type=int, default=60, help="of each seed")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    seeds, rows = [int(seed) for seed in arguments.seeds.split(",")], []
    for archive in arguments.archives.split(","):
        embeddings, classes = opened(archive)
        print(archive)
        plain = [person(no_marks, embeddings, classes, arguments.queries, seed) for seed in seeds]
        for name, rule in RULES.items():
            seen = [person(rule, embeddings, classes, arguments.queries, seed) for seed in seeds]
            rows.append({"archive": archive, "rule": name, **compared(seen, plain)})
            print(LINE.format(**rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def opened(folder):
    """Return centred features of unit length, and classes."""
    config = ExperimentConfig(archive=f"folder:{folder}")
    dataset = load_whole_archive(config)
    learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
    return unit_directions(learner.features(None)), require_classes(dataset.archive)


def person(rule, embeddings, classes, num_queries, seed):
    """Return (right results on each page, AP of the rest after it), [Q, PAGES] each."""
    rng = np.random.default_rng(seed)
    queries = rng.choice(len(embeddings), num_queries, replace=False)
    errs = rng.random((num_queries, len(embeddings))) < WRONG
    pages = [
        search(rule, embeddings, classes == classes[query], query, errs[row])
        for row, query in enumerate(queries)
    ]
    return np.moveaxis(np.array(pages), 1, 0)


def search(rule, embeddings, is_right, query, errs):
    """Mark page after page of one search; return (right results, AP of the rest), [PAGES] each."""
    shown, direction = np.array([query]), embeddings[query]
    right, precision = [], []
    for _ in range(PAGES):
        page = ranking(embeddings, direction, shown)[:PAGE]
        shown = np.concatenate([shown, page])
        said = is_right[shown[1:]] ^ errs[shown[1:]]
        direction = rule(embeddings[query], embeddings[shown[1:][said]], embeddings[shown[1:][~said]])
        right.append(is_right[page].sum())
        precision.append(average_precision(is_right[ranking(embeddings, direction, shown)]))
    return right, precision


def ranking(embeddings, direction, shown):
    """Return all tiles that were not shown, the best first."""
    order = np.argsort(-(embeddings @ direction), kind="stable")
    return order[~np.isin(order, shown)]


def average_precision(is_right):
    places = np.flatnonzero(is_right)
    return float(np.mean(np.arange(1, len(places) + 1) / (places + 1))) if len(places) else 0.0


def compared(seen, plain):
    """Return the figures of a rule from those of each seed, compared with those without marks."""
    found = np.array([right[:, 1:].sum(axis=1) for right, _ in seen])
    gains = found - np.array([right[:, 1:].sum(axis=1) for right, _ in plain])
    return {
        "found": float(found.mean()),
        "gain": float(gains.mean()),
        "worst": float(gains.mean(axis=1).min()),
        "worse": float((gains < 0).mean()),
        "ap": np.mean([precision.mean(axis=0) for _, precision in seen], axis=0).tolist(),
    }


if __name__ == "__main__":
    main()
