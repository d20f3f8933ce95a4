"""What `feature_share` is worth after each round of `finetune` runs, from their checkpoints.

  python benchmarks/feature_share.py runs/ucm_finetune/*/seed_100

mAP@5 of held-out queries over min(k, R): by the features of the network as it was trained, by what was
learnt alone, and by both with several weights of the features. "first directions" projects the features to
the main directions of those before training. Nothing is trained: other weights would have chosen other
pairs in later rounds.
"""

import argparse
import pathlib
from contextlib import closing

from anneal_jax.evaluation.retrieval_quality import evaluate_retrieval
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.files.workdir import read_config
from anneal_jax.training.checkpoints import RoundCheckpoints
from anneal_jax.training.factory import make_learner
from anneal_jax.training.head_steps import HeadParams, with_features, without_features
from anneal_jax.training.learner import centred
from anneal_jax.training.network_fit import NetworkParams


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workdirs", type=pathlib.Path, nargs="+")
    parser.add_argument("--shares", default="0.2,0.35,0.5,0.65,0.8")
    arguments = parser.parse_args()
    shares = [float(share) for share in arguments.shares.split(",")]
    columns = [
        "features",
        "learnt",
        *(f"{share:g}" for share in shares),
        f"{shares[0]:g}, first directions",
    ]
    print(f"| run | round | {' | '.join(columns)} |\n" + "|---" * (2 + len(columns)) + "|")
    for workdir in arguments.workdirs:
        for round_index, found in rounds_of(workdir, shares):
            cells = " | ".join(f"{quality:.3f}" for quality in found)
            print(f"| {workdir.parent.name} | {round_index} | {cells} |", flush=True)


def rounds_of(workdir, shares):
    """Yield each round with the quality of its columns."""
    config = read_config(workdir)
    dataset = load_dataset(config)
    learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)

    def quality(vectors):
        return evaluate_retrieval(vectors, dataset.labels, dataset.split).mean_average_precision

    with closing(RoundCheckpoints(workdir / "checkpoints", read_only=True)) as checkpoints:
        for round_index in range(config.rounds + 1):
            kept = checkpoints.restore(round_index)["params"]
            heads = without_features(HeadParams(kept["heads"]["similarity"], None))
            params = NetworkParams(kept["backbone"], heads)
            features = learner.features(params)
            heads_only = learner.heads_only
            own = heads_only.main_directions_of(features[heads_only.spanned])
            added = [(own, share) for share in shares] + [(heads_only.main_directions, shares[0])]
            models = [params, *(params._replace(heads=with_features(heads, *one)) for one in added)]
            vectors = [learner.embed(model, features) for model in models]
            yield (
                round_index,
                [quality(centred(features, dataset.split.train)), *(quality(one) for one in vectors)],
            )


if __name__ == "__main__":
    main()
