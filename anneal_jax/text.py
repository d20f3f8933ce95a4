"""Text that comes from outside: it must be UTF-8, and what differs only by form is compared as one.

Two forms are folded, for comparisons alone: letters with accents, which macOS writes as letter and accent
and most programs as one letter (Unicode's NFD and NFC), and white space at either end. What is stored and
shown stays as it was written.
"""

import unicodedata
from collections.abc import Iterable, Mapping

from anneal_jax.errors import AnnealError

_NOT_UTF8 = (
    "rename it; or, if this machine's locale is at fault, set PYTHONUTF8=1 or LC_ALL=C.UTF-8 "
    "before the command"
)


def folded(text: str) -> str:
    r"""Return the form that texts are compared in.

    >>> folded("cafe\u0301.png ") == folded("caf\u00e9.png")
    True
    """
    return unicodedata.normalize("NFC", text).strip()


def forms_of(text: str) -> set[str]:
    """Return the spellings of a text under which a file may hold it: as it is, composed, decomposed."""
    stripped = text.strip()
    return {text, stripped, *(unicodedata.normalize(form, stripped) for form in ("NFC", "NFD"))}


def is_utf8(text: str) -> bool:
    r"""Return whether a text can be written as UTF-8; a lone surrogate, from a name in Latin-1, cannot.

    >>> is_utf8("café"), is_utf8("caf\udce9")
    (True, False)
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def require_utf8(text: str, what: str, error: type[AnnealError]) -> str:
    r"""Return a text that can be written as UTF-8.

    Args:
      text: that came from outside.
      what: begins the sentence, such as "the argument".
      error: class to raise.

    Raises:
      AnnealError: of the class given.
    """
    if not is_utf8(text):
        raise not_utf8(text, what, error)
    return text


def not_utf8(text: str, what: str, error: type[AnnealError]) -> AnnealError:
    """Return the error for a text that cannot be written as UTF-8, as `require_utf8` raises it."""
    return error(f"{what} {text!r} is not valid UTF-8; {_NOT_UTF8}")


class Names:
    r"""Names to look things up by, as they are written or else as they are folded.

    >>> names = Names(["cafe\u0301.png", "a.png"])
    >>> names.find("caf\u00e9.png"), names.find("a.png"), names.find("b.png")
    (['cafe\u0301.png'], ['a.png'], [])
    """

    def __init__(self, names: Iterable[str]):
        """Take the names, in their order."""
        self._known = dict.fromkeys(names)
        self._by_folded: dict[str, list[str]] | None = None

    def find(self, name: str) -> list[str]:
        """Return the names that a text may mean: itself, or those that differ from it by form alone."""
        return [name] if name in self._known else self._folded().get(folded(name), [])

    def __iter__(self):
        return iter(self._known)

    def _folded(self) -> Mapping[str, list[str]]:
        if self._by_folded is None:  # made once something is not found as it is written
            self._by_folded = {}
            for name in self._known:
                self._by_folded.setdefault(folded(name), []).append(name)
        return self._by_folded
