"""A simulated person who answers an open page with the requests that a browser would send.

  from anneal_jax.annotation.web.scripted_client import answer_page

  answer_page(url, ClassOracle(archive.labels), num_answers=100)

On an archive with known classes, it shows what that many answers from a person would achieve.
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
    """Answer the questions of a page one by one.

    Args:
      url: the page's full address with its token, as printed when the server started.
      annotator: answers the questions.
      num_answers: how many questions to answer.
      name: person's name stored with the answers.

    Returns:
      Number of answers that the page stored; fewer if it ran out of questions.

    Raises:
      AnnealError: the page cannot be reached or refused an answer; the message says why.
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
