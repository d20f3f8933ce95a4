"""Weights on the Hugging Face hub, `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`.

The package uses the network only for such names, and only until the files are in the hub's cache on this
machine. After that it reads them from there, so that a run continues with the same files, even offline. The
revision (branch, tag or commit) is `main` by default.
"""

import importlib
import re
import threading
from pathlib import Path
from typing import Any

from anneal_jax.errors import WeightsError, how_to_install

_PREFIX = "hf:"
_WEIGHTS = "model.safetensors"
_BESIDE = ("config.json", "preprocessor_config.json")
_TIMEOUT_S = 4.0
_REFUSED = (401, 403)  # HTTP: not authenticated, or not allowed
_LICENCES = {"dinov3": "the DINOv3 License of Meta"}  # by a part of the repository's name
_FORM = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


def is_on_hub(source: str) -> bool:
    """Return whether the name of weights is a place on the hub.

    >>> is_on_hub("hf:timm/resnet18.tv_in1k"), is_on_hub("resnet18.safetensors")
    (True, False)
    """
    return source.startswith(_PREFIX)


def fetch(source: str) -> Path:
    """Return the path of a hub's weights in the local cache, downloading missing files.

    The files that describe the preparation of tiles are downloaded from the same commit to the same folder.

    Args:
      source: `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`, where OWNER/NAME has a `model.safetensors`.

    Raises:
      WeightsError: `source` is malformed, huggingface_hub is not installed, the hub does not respond within
        seconds, it does not have the file, or it requires that a licence is accepted.
    """
    form = _FORM.fullmatch(source.removeprefix(_PREFIX))
    if not form:
        raise WeightsError(f"{source!r} names no weights; write hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
    try:
        hub = importlib.import_module("huggingface_hub")
        importlib.import_module("huggingface_hub.errors")
    except ImportError as error:
        raise WeightsError(
            f"{source} is on the Hugging Face hub; to download it, {how_to_install('hub')}, or give "
            "the path of a downloaded model.safetensors"
        ) from error
    repo, revision = form["repo"], form["revision"]
    try:
        weights = _cached(hub, repo, _WEIGHTS, revision)
        if weights is None:
            raise WeightsError(f"{source} has no {_WEIGHTS}; name another, or give the path of a file")
        for name in _BESIDE:
            _cached(hub, repo, name, revision=weights.parent.name)  # a snapshot's folder is its commit
    except WeightsError:
        raise
    except Exception as error:  # the client passes on any error of its network layer
        raise WeightsError(
            f"cannot fetch {source} from the hub ({_first_line(error)}); correct the name, or give the "
            "path of a downloaded model.safetensors"
        ) from error
    return weights


def _cached(hub: Any, repo: str, name: str, revision: str | None) -> Path | None:
    """Return a file's path in the cache, after a download if necessary; None if the hub lacks it."""
    known = hub.try_to_load_from_cache(repo, name, revision=revision)
    if isinstance(known, str):
        return Path(known)
    if known is not None:  # the cache records that there is none
        return None
    _require_answer(hub, repo, hub.hf_hub_url(repo, name, revision=revision))
    try:
        return Path(hub.hf_hub_download(repo, name, revision=revision))
    except hub.errors.RemoteEntryNotFoundError:
        return None


def _require_answer(hub: Any, repo: str, url: str) -> None:
    """Request the headers of a file once: the client itself tries six times and logs each attempt.

    In a thread, because name resolution has no timeout of its own.

    Raises:
      WeightsError: there is no response, or a refusal.
    """
    failures, refusals = [], []

    def ask() -> None:
        try:
            hub.get_hf_file_metadata(url, timeout=_TIMEOUT_S)
        except hub.errors.HfHubHTTPError as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status in _REFUSED:
                refusals.append(status)  # the client will explain any other response
        except Exception as error:  # the client passes on any error of its network layer
            failures.append(_first_line(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_TIMEOUT_S)
    if thread.is_alive() or failures:
        reason = failures[0] if failures else f"none in {_TIMEOUT_S:.0f} seconds"
        raise WeightsError(
            f"there is no response from {url} ({reason}); connect to the network, or download the file "
            "by other means and give its path"
        )
    if refusals:
        raise WeightsError(_explain_refusal(repo, refusals[0]))


def _explain_refusal(repo: str, status: int) -> str:
    licence = next((licence for part, licence in _LICENCES.items() if part in repo), "its licence")
    return (
        f"the hub restricts access to {repo} (HTTP {status}); check the name, accept {licence} at "
        f"https://huggingface.co/{repo} and set HF_TOKEN to a token of that account, or give the path of a "
        "downloaded model.safetensors"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
