"""A person who answers an annotation session by class labels."""

from anneal_jax.types import Answer

TAB = "tab-number-1"


def answers_of(classes):
    return lambda question: Answer(int(classes[question["first"]] == classes[question["second"]]))


def run(session, oracle, count, view=None, tab=TAB):
    view = view or session.open_tab(tab, "Ada")
    for _ in range(count):
        question = view["questions"][0]
        view = session.answer(tab, question["key"], oracle(question), 1.5)
    return view


def state_of(session):
    view = session.counters("Ada")
    return {name: view[name] for name in ("num_answers", "num_known", "bits_spent", "minutes", "quality")}
