"""A person who answers an annotation session by class labels."""

from anneal_jax.answers.writing import Given
from anneal_jax.types import Answer

TAB = "tab-number-1"


def answers_of(classes):
    return lambda question: Answer(int(classes[question["first"]] == classes[question["second"]]))


def look(question, classes, rng=None):
    """Return what a person picks of a choice or a grid; `rng` lets her overlook one in twenty odd tiles."""
    same = [classes[tile] == classes[question["subject"]] for tile in question["others"]]
    if question["kind"] == "choice":
        return [same.index(True)] if True in same else []
    return [
        place for place, is_same in enumerate(same) if not is_same and (rng is None or rng.random() > 0.05)
    ]


def glance(session, classes, view, tab=TAB, rng=None):
    """Answer the first question of a view, whatever its kind."""
    question = view["questions"][0]
    if question["kind"] == "pair":
        return session.answer(tab, question["key"], answers_of(classes)(question), 1.6)
    return session.answer_glance(tab, question["key"], look(question, classes, rng), 3.0)


def run(session, oracle, count, view=None, tab=TAB):
    view = view or session.open_tab(tab, "Ada")
    for _ in range(count):
        question = view["questions"][0]
        view = session.answer(tab, question["key"], oracle(question), 1.5)
    return view


def ask(session, pair, kind="training"):
    """Have Ada's page ask about a pair, as after an undo, and return the key of the question."""
    session.store.add(Given(*pair, Answer.SIMILAR, "Ada", kind=kind))
    session.catch_up()
    return session.undo(TAB, f"ask-again-{pair}")["questions"][0]["key"]


def state_of(session):
    view = session.counters("Ada")
    return {name: view[name] for name in ("num_answers", "num_known", "bits_spent", "minutes", "quality")}
