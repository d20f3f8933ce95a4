"""Sets of answers as a page manages them: define the sentence, rename, begin another, go back."""

from typing import Any

from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.errors import StoreError
from anneal_jax.text import folded


def say_sentence(session: AnnotationSession, tab_id: str, sentence: str) -> dict[str, Any]:
    """Define "similar" for the first time, and return what the page shows.

    Raises:
      StoreError: it is already defined differently; or the page is unknown, or the sentence is empty, too
        long or has several lines.
    """
    session.annotator_of(tab_id)
    if session.is_settled and folded(sentence) != folded(session.sentence):
        raise StoreError(
            f"the sentence is already {session.sentence!r}; rename this set, or begin another one."
        )
    session.store.set_sentence(sentence)
    return _shown(session, tab_id)


def begin_set(session: AnnotationSession, tab_id: str, sentence: str, key: str) -> dict[str, Any]:
    """Begin an empty set of answers to another sentence, and return what the page shows.

    Raises:
      StoreError: as `say_sentence`, or a set with answers has this sentence.
    """
    session.store.begin_set(sentence, annotator=session.annotator_of(tab_id), key=key)
    return _shown(session, tab_id)


def go_to_set(session: AnnotationSession, tab_id: str, set_id: int, key: str) -> dict[str, Any]:
    """Switch to another set, its answers and its model, if still held; return what the page shows.

    Raises:
      StoreError: there is no such set, or the page is unknown.
    """
    session.store.go_to_set(set_id, annotator=session.annotator_of(tab_id), key=key)
    return _shown(session, tab_id)


def rename_set(session: AnnotationSession, tab_id: str, sentence: str, key: str) -> dict[str, Any]:
    """Reword the definition of "similar" and keep the answers; return what the page shows.

    Raises:
      StoreError: as `begin_set`.
    """
    session.store.rename_set(sentence, annotator=session.annotator_of(tab_id), key=key)
    return _shown(session, tab_id)


def _shown(session: AnnotationSession, tab_id: str) -> dict[str, Any]:
    session.take_up_set()
    return session.view(tab_id)
