import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.answers.agreement import agreements, consistencies
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.types import Answer
from tests.reference import pairs as twin

IDS = [f"{index}.png" for index in range(8)]


def store_of(folder, said):
    """Return a store in which people said 0, 1 or 2 (unsure) of pairs, in the order given."""
    store = AnswerStore(folder / "answers.sqlite", IDS)
    store.give(
        [
            Given(*pair, Answer(answer), name, key=str(place))
            for place, (name, pair, answer) in enumerate(said)
        ]
    )
    return store


@given(
    said=st.lists(
        st.tuples(st.sampled_from("AB"), st.sampled_from(twin.all_pairs(4)), st.integers(0, 2)), max_size=20
    )
)
def test_agreement_is_that_of_the_last_sure_answers(said, tmp_path_factory):
    found = agreements(store_of(tmp_path_factory.mktemp("store"), said).standing())
    last = {(name, pair): answer for name, pair, answer in said if answer < 2}
    both = [pair for pair in twin.all_pairs(4) if ("A", pair) in last and ("B", pair) in last]
    if not both:
        assert found == []
        return
    share, kappa = twin.kappa([last["A", pair] for pair in both], [last["B", pair] for pair in both])
    ((first, second, num_pairs, found_share, found_kappa),) = found
    assert (first, second, num_pairs, found_share) == ("A", "B", len(both), share)
    assert (found_kappa is None) == (kappa is None)
    assert kappa is None or found_kappa == pytest.approx(kappa, abs=1e-12)


def test_agreement_by_hand(tmp_path):
    """Eight of ten alike, half of all answers similar: kappa (0.8 - 0.5) / (1 - 0.5)."""
    pairs = twin.all_pairs(8)[:10]
    one, other = [1, 1, 1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 1, 0, 0, 0, 0]
    said = [("Ada", pair, a) for pair, a in zip(pairs, one, strict=True)]
    said += [("Ben", pair, a) for pair, a in zip(pairs, other, strict=True)] + [("Cleo", (5, 7), 1)]
    store = store_of(tmp_path, said)
    ((first, second, num_pairs, share, kappa),) = agreements(store.standing())
    assert (first, second, num_pairs, share) == ("Ada", "Ben", 10, 0.8)
    assert kappa == pytest.approx(0.6)
    store.undo(annotator="Ben")
    assert agreements(store.standing())[0].num_pairs == 9


def test_consistency_compares_a_persons_first_and_last_answer_to_a_pair(tmp_path):
    said = [
        ("Ada", (0, 1), 1),
        ("Ada", (0, 2), 0),
        ("Ada", (0, 3), 0),
        ("Ben", (0, 1), 0),
        ("Ada", (0, 4), 2),
    ]
    store = store_of(tmp_path, said)
    again = [
        Given(0, 1 + place, Answer(word), "Ada", kind="repeat") for place, word in enumerate((1, 0, 1, 1))
    ]
    store.give(again)
    ((first, second, num_pairs, share, kappa),) = consistencies(store.standing())
    assert (first, second, num_pairs, share) == ("Ada", "Ada", 3, 2 / 3)
    assert kappa == pytest.approx(twin.kappa([1, 0, 0], [1, 0, 1])[1])
    store.give([Given(0, 3, Answer.DISSIMILAR, "Ada", kind="repeat")])
    assert consistencies(store.standing())[0].share == 1.0
