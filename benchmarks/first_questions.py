"""The first answers of a person, and the cost of mixing in questions that are likely a "yes".

  python benchmarks/first_questions.py --train      # UC Merced and RSSCN7, seeds 100 to 102, truthful

For each seed, `belief_ask` asks in its own order and in that of the page. Printed are the number of "yes"
among the first 3 and 20, then at --bits the share of training tiles in a group of their own class, and with
--train mAP@5 of held-out queries; last, the mean difference that mixing makes, paired by seed.
"""

import argparse

import numpy as np
from glances import opened, share_right

from anneal_jax.acquisition.beliefs.choose_several import Interleaved
from anneal_jax.acquisition.beliefs.session import add_interleaved_answer, propose_several
from anneal_jax.evaluation.retrieval_quality import evaluate_retrieval
from anneal_jax.experiments.belief_rounds import fit_beliefs
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.training.learner import represent
from anneal_jax.types import Answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archives", default="folder:../shared/data/ucm,folder:../shared/data/rsscn7")
    parser.add_argument("--seeds", default="100,101,102")
    parser.add_argument("--bits", type=int, default=168)
    parser.add_argument("--train", action="store_true")
    arguments = parser.parse_args()
    for archive in arguments.archives.split(","):
        changes = []
        for seed in map(int, arguments.seeds.split(",")):
            plain, mixed = (one_run(archive, seed, arguments, mixes) for mixes in (False, True))
            print(f"{archive} seed {seed}: plain {plain}, mixed {mixed}", flush=True)
            changes.append([mixed[name] - plain[name] for name in plain])
        means = dict(zip(plain, np.mean(changes, axis=0).round(4).tolist(), strict=True))
        print(f"{archive}: mixed less plain, mean {means}", flush=True)


def one_run(archive, seed, arguments, mixes_first):
    """Answer truthfully; return the figures."""
    dataset, learner, session = opened(archive, seed)
    oracle, state, answers = ClassOracle(dataset.labels), Interleaved(session.start, {}), []
    while len(answers) < arguments.bits:
        pair = next(propose_several(session, state, mixes_first=mixes_first))
        answers.append(oracle(*pair))
        state = add_interleaved_answer(session, state, *pair, answers[-1])
    figures = {f"yes_of_{count}": answers[:count].count(Answer.SIMILAR) for count in (3, 20)}
    figures["right"] = share_right(session, state.beliefs, dataset.labels)
    if arguments.train:
        params = fit_beliefs(session, state.beliefs, learner, 0, use="train on the answers")
        vectors = represent(learner, params).embeddings
        found = evaluate_retrieval(vectors, dataset.labels, dataset.split)
        figures["map_at_5"] = round(found.mean_average_precision, 4)
    return figures


if __name__ == "__main__":
    main()
