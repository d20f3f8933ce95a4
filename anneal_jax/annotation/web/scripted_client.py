"""A simulated person answers an open page, by the requests that a browser sends.

  from anneal_jax.annotation.web.scripted_client import answer_page

  answer_page(url, ClassOracle(archive.labels), num_answers=100)

It shows what so many answers of a person would give, on an archive whose classes are known.
"""

import json
import secrets
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from anneal_jax.errors import AnnealError
from anneal_jax.types import Annotator

_TIMEOUT_S = 60


def answer_page(url: str, annotator: Annotator, num_answers: int, *, name: str = "simulated") -> int:
    """Answer the questions of a page one after the other.

    Args:
      url: the page's whole address, with its token, as it was printed when the server started.
      annotator: who answers.
      num_answers: how many questions to answer.
      name: under which the answers are stored.

    Returns:
      How many answers the page has stored; fewer where it had nothing left to ask.

    Raises:
      AnnealError: the page cannot be reached, or refused an answer; the message says why.
    """
    tab = f"scripted-{secrets.token_hex(8)}"
    view = _post(url, "session", {"tab": tab, "annotator": name, "mode": "pairs"})
    for count in range(num_answers):
        if not view["questions"]:
            return count
        question = view["questions"][0]
        said = annotator(question["first"], question["second"])
        answer = {"tab": tab, "key": question["key"], "answer": said.name.lower(), "elapsed_s": None}
        view = _post(url, "answer", answer)
    return num_answers


def _post(url: str, route: str, body: dict[str, Any]) -> dict[str, Any]:
    parts = urlsplit(url)
    headers = {"Content-Type": "application/json", "Origin": f"{parts.scheme}://{parts.netloc}"}
    request = urllib.request.Request(url + route, json.dumps(body).encode(), headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise AnnealError(f"the page refused {route}: {error.read().decode(errors='replace')}") from error
    except OSError as error:
        raise AnnealError(f"{url} cannot be reached ({error}); is its server running?") from error
