"""What a page does with sets of answers: says the sentence first, renames, begins another, goes back."""

from typing import Any

from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.errors import StoreError
from anneal_jax.text import folded


def say_sentence(session: AnnotationSession, tab_id: str, sentence: str) -> dict[str, Any]:
    """Say for the first time what "similar" means, and return what the page shows.

    Raises:
      StoreError: it was said otherwise already; or the page is not known, or the sentence is empty, too
        long or not one line.
    """
    session.annotator_of(tab_id)
    if session.is_settled and folded(sentence) != folded(session.sentence):
        raise StoreError(
            f"the sentence is {session.sentence!r} already; rename this set, or begin another one."
        )
    session.store.set_sentence(sentence)
    return _shown(session, tab_id)


def begin_set(session: AnnotationSession, tab_id: str, sentence: str, key: str) -> dict[str, Any]:
    """Begin a set of answers to another sentence, with nothing known, and return what the page shows.

    Raises:
      StoreError: as `say_sentence`, or a set with answers has this sentence.
    """
    session.store.begin_set(sentence, annotator=session.annotator_of(tab_id), key=key)
    return _shown(session, tab_id)


def go_to_set(session: AnnotationSession, tab_id: str, set_id: int, key: str) -> dict[str, Any]:
    """Go to another set, with its answers, and its model if it is at hand; return what the page shows.

    Raises:
      StoreError: there is no such set, or the page is not known.
    """
    session.store.go_to_set(set_id, annotator=session.annotator_of(tab_id), key=key)
    return _shown(session, tab_id)


def rename_set(session: AnnotationSession, tab_id: str, sentence: str, key: str) -> dict[str, Any]:
    """Say in other words what "similar" means, and return what the page shows; the answers stay.

    Raises:
      StoreError: as `begin_set`.
    """
    session.store.rename_set(sentence, annotator=session.annotator_of(tab_id), key=key)
    return _shown(session, tab_id)


def _shown(session: AnnotationSession, tab_id: str) -> dict[str, Any]:
    session.take_up_set()
    return session.view(tab_id)
