"""Is it the yes answers that one method's pairs teach less than another's?

  python benchmarks/yes_pairs.py runs/ucm_frozen_96/{bcgue+clustering,mgue+clustering}/seed_100

Frozen heads are trained again on all answers of two runs of one archive and seed, and on those of the first
after as many of its yes answers were replaced by no answers, drawn at random among pairs of training tiles,
that both runs have as many of each. mAP@5 of held-out queries over min(k, R), mean and half of the 95% t
interval over draws. Where the first falls to the second, the number of yes answers is the reason.
"""

import argparse
import pathlib
from contextlib import closing

import numpy as np
from paired import interval

from anneal_jax.answers.store import AnswerStore
from anneal_jax.evaluation.retrieval_quality import evaluate_retrieval
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.files.workdir import read_config
from anneal_jax.pairs.transitive import expand_one_step
from anneal_jax.training.factory import make_learner
from anneal_jax.training.learner import TrainingPairs, represent
from anneal_jax.types import Answer


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workdirs", type=pathlib.Path, nargs=2, help="more yes answers first")
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    config = read_config(arguments.workdirs[0])
    dataset = load_dataset(config)
    learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
    more, fewer = (answers_of(workdir, dataset) for workdir in arguments.workdirs)
    kept = int(fewer[1].sum())
    print("| answers of | yes | no | pairs with what follows | mAP@5 |\n|---|---|---|---|---|")
    for name, draw in (
        (arguments.workdirs[0].parent.name, lambda _: more),
        (arguments.workdirs[1].parent.name, lambda _: fewer),
        ("the first, with the yes of the second", lambda seed: thinned(*more, kept, dataset, seed)),
    ):
        found, sizes = [], []
        for seed in range(arguments.draws):
            pairs, is_yes = draw(seed)
            derived = expand_one_step(pairs, is_yes.astype(np.int8), len(dataset.labels))
            known = TrainingPairs(
                np.concatenate([pairs, derived.pair_indices]),
                np.concatenate([is_yes.astype(np.int8), derived.pair_labels]),
            )
            params = learner.fit_pairs(known, round_index=seed, previous=None)
            vectors = represent(learner, params).embeddings
            found.append(evaluate_retrieval(vectors, dataset.labels, dataset.split).mean_average_precision)
            sizes.append(len(known.labels))
        cells = [name, is_yes.sum(), (~is_yes).sum(), f"{np.mean(sizes):.0f}", interval(np.array(found))]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def answers_of(workdir, dataset):
    """Return the pairs int32[P, 2] of a run and whether each answer is yes; unsure ones are left out."""
    path = workdir / "answers.sqlite"
    with closing(AnswerStore(path, dataset.archive.ids, read_only=True)) as store:
        answered = store.answered(1_000)
    is_sure = answered.answers != Answer.UNSURE
    return answered.pair_indices[is_sure], answered.answers[is_sure] == Answer.SIMILAR


def thinned(pairs, is_yes, kept, dataset, seed):
    """Replace yes answers by no answers about random pairs, until as many yes are left as given."""
    rng = np.random.default_rng(seed)
    dropped = rng.permutation(np.flatnonzero(is_yes))[kept:]
    pairs, is_yes = pairs.copy(), is_yes.copy()
    for place in dropped:
        while True:
            pair = np.sort(rng.choice(dataset.split.train, 2, replace=False))
            if dataset.labels[pair[0]] != dataset.labels[pair[1]]:
                break
        pairs[place], is_yes[place] = pair, False
    return pairs, is_yes


if __name__ == "__main__":
    main()
