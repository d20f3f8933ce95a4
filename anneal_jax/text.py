"""Text from outside: it must be UTF-8, and texts that differ only in Unicode form compare as equal.

Two differences are folded, only for comparisons: letters with accents, which macOS writes as letter and
accent and most programs as one letter (Unicode's NFD and NFC), and white space at either end. Stored and
displayed text is unchanged.
"""

import unicodedata
from collections.abc import Iterable, Mapping

from anneal_jax.errors import AnnealError

_NOT_UTF8 = (
    "rename it; or, if this machine's locale is at fault, set PYTHONUTF8=1 or LC_ALL=C.UTF-8 "
    "before the command"
)


def folded(text: str) -> str:
    r"""Return the form in which texts are compared.

    >>> folded("cafe\u0301.png ") == folded("caf\u00e9.png")
    True
    """
    return unicodedata.normalize("NFC", text).strip()


def forms_of(text: str) -> set[str]:
    """Return the possible spellings of a text in a file: unchanged, composed, decomposed."""
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
      text: text from outside.
      what: start of the message, such as "the argument".
      error: class to raise.

    Raises:
      AnnealError: an error of the given class.
    """
    if not is_utf8(text):
        raise not_utf8(text, what, error)
    return text


def not_utf8(text: str, what: str, error: type[AnnealError]) -> AnnealError:
    """Return the error that `require_utf8` raises for a text that cannot be written as UTF-8."""
    return error(f"{what} {text!r} is not valid UTF-8; {_NOT_UTF8}")


class Names:
    r"""Names for lookups, as written or else as folded.

    >>> names = Names(["cafe\u0301.png", "a.png"])
    >>> names.find("caf\u00e9.png"), names.find("a.png"), names.find("b.png")
    (['cafe\u0301.png'], ['a.png'], [])
    """

    def __init__(self, names: Iterable[str]):
        """Index the names, in order."""
        self._known = dict.fromkeys(names)
        self._by_folded: dict[str, list[str]] | None = None

    def find(self, name: str) -> list[str]:
        """Return the names that match a text: itself, or those that differ only in Unicode form."""
        return [name] if name in self._known else self._folded().get(folded(name), [])

    def __iter__(self):
        return iter(self._known)

    def _folded(self) -> Mapping[str, list[str]]:
        if self._by_folded is None:  # built when a text is first not found as written
            self._by_folded = {}
            for name in self._known:
                self._by_folded.setdefault(folded(name), []).append(name)
        return self._by_folded
