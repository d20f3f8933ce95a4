"""What every question source of the page promises. A new mode is tested here by being in `MODES`."""

import copy
import itertools

import jax
import numpy as np
import pytest

from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.session import BeliefSession
from anneal_jax.acquisition.beliefs.state import begin
from anneal_jax.annotation.questions.by_belief import BeliefQuestions
from anneal_jax.annotation.questions.cold_start import unit_directions
from anneal_jax.annotation.questions.plan import MODES, make_plan
from anneal_jax.annotation.questions.source import replayed
from anneal_jax.annotation.types import Said
from anneal_jax.pairs.answer_graph import AnswerGraph
from anneal_jax.types import Answer

NUM_TILES, NUM_CLASSES, LOOKED_AT = 24, 3, 5
CLASSES = np.arange(NUM_TILES) % NUM_CLASSES


@pytest.fixture(params=[mode for mode in MODES if mode != "glances"])  # the source of `pairs`
def source(request):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(NUM_CLASSES, 8))[CLASSES]
    directions = unit_directions((centres + 0.6 * rng.normal(size=centres.shape)).astype(np.float32))
    graph = neighbour_graph(directions)
    beliefs = BeliefQuestions(BeliefSession(np.arange(NUM_TILES, dtype=np.int32), graph, begin(graph)))
    return make_plan(directions, seed=0, by_belief=beliefs).sources[request.param]


class Talk:
    """A person who answers by the classes, and every n-th question with unsure."""

    def __init__(self, source, unsure_every=7):
        self.unsure_every = unsure_every
        self.source, self.state = source, source.start()
        self.graph, self.said, self.unsure = AnswerGraph("closure"), [], set()

    def known(self, first, second):
        return Answer.UNSURE if (first, second) in self.unsure else self.graph.implied(first, second)

    def proposals(self):
        """Return the pairs that may be asked, lazily, as the scheduler reads them."""
        self.state, proposed = self.source.propose(self.state, self.known)
        return (pair for pair in proposed if self.known(*pair) is None)

    def answer(self, pair):
        number = len(self.said) + 1
        is_similar = bool(CLASSES[pair[0]] == CLASSES[pair[1]])
        said = (
            Answer.UNSURE
            if self.unsure_every and number % self.unsure_every == 0
            else Answer(int(is_similar))
        )
        if said == Answer.UNSURE:
            self.unsure.add(pair)
        else:
            self.graph.insert(number, *pair, is_similar=is_similar)
        self.said.append(Said(*pair, said))
        self.state = self.source.add_answer(self.state, self.said[-1])


def walk(source, most, **options):
    talk = Talk(source, **options)
    for _ in range(most):
        pair = next(talk.proposals(), None)
        if pair is None:
            break
        talk.answer(pair)
    return talk


def same(one, other):
    """Whether two states hold the same values."""
    first, second = jax.tree.flatten(one), jax.tree.flatten(other)
    return first[1] == second[1] and all(map(np.array_equal, first[0], second[0]))


def test_pairs_are_canonical_and_of_the_archive(source):
    for pair in itertools.islice(walk(source, 10).proposals(), 3 * LOOKED_AT):
        assert 0 <= pair[0] < pair[1] < NUM_TILES


def test_no_pair_is_asked_twice_and_the_questions_end(source):
    talk = walk(source, NUM_TILES**2, unsure_every=0)
    asked = [(said.first, said.second) for said in talk.said]
    assert len(set(asked)) == len(asked) < NUM_TILES * (NUM_TILES - 1) // 2
    assert next(talk.proposals(), None) is None
    implied = [talk.known(*pair) for pair in itertools.combinations(range(NUM_TILES), 2)]
    assert np.mean([label is not None for label in implied]) > 0.6  # all but a comparison of two groups


def test_answers_again_in_the_order_given_make_the_same_state(source):
    talk = walk(source, 30)
    expected = list(itertools.islice(talk.proposals(), LOOKED_AT))
    again = Talk(source)
    again.graph, again.unsure = talk.graph, talk.unsure
    again.state = replayed(source, talk.said)
    assert list(itertools.islice(again.proposals(), LOOKED_AT)) == expected


def test_proposing_and_answering_leave_an_older_state_as_it_was(source):
    talk = walk(source, 12)
    state, kept = talk.state, copy.deepcopy(talk.state)
    first = list(itertools.islice(source.propose(state, talk.known)[1], LOOKED_AT))
    source.add_answer(state, Said(0, 1, Answer.SIMILAR))
    assert same(state, kept)
    assert list(itertools.islice(source.propose(state, talk.known)[1], LOOKED_AT)) == first


def test_audits_and_repeats_teach_nothing_but_not_to_be_asked(source):
    talk = walk(source, 8)
    pair = next(talk.proposals())
    measured = source.add_answer(talk.state, Said(*pair, Answer.SIMILAR, is_trained=False))
    known = lambda *other: Answer.SIMILAR if other == pair else talk.known(*other)  # noqa: E731
    _, proposed = source.propose(measured, known)
    assert pair not in [other for other in itertools.islice(proposed, 50) if known(*other) is None]
