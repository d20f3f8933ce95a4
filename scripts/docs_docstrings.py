"""Docstrings as Markdown: doctests become blocks of code, and brackets stay brackets."""

import re

import griffe

_DOCTEST = re.compile(r"^( *)>>> .*(?:\n(?! *$).*)*", re.MULTILINE)
_CODE = re.compile(r"(```.*?```|`[^`]*`)", re.DOTALL)


class PlainDocstrings(griffe.Extension):
    """Prepare every docstring that the site shows; those of the code are plain text with backticks."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite the docstring of one module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """Fence each doctest, down to the next empty line; escape brackets outside code."""
    fenced = _DOCTEST.sub(lambda found: f"{found[1]}```python\n{found[0]}\n{found[1]}```", text)
    pieces = _CODE.split(fenced)
    pieces[::2] = [re.sub(r"([\[\]])", r"\\\1", piece) for piece in pieces[::2]]
    return "".join(pieces)
