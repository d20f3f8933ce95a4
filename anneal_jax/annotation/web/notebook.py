"""The page inside a notebook: its server in a process of its own, shown in a frame.

  from anneal_jax import open_annotation

  page = open_annotation("folder:tiles", "runs/mine", backbone="mobilenet_v2", pretrained="weights.npz")
  page.close()

A process, not a thread: a cell that computes keeps no answer waiting, and the server ends with the kernel.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import IO, Any, cast
from urllib.parse import urlsplit

from anneal_jax.errors import AnnealError, ConfigError

HEIGHT_PX = 720
"""Of the frame, with room for two tiles and the buttons."""

_TIMEOUT_S = 20.0  # for the store to be closed


class AnnotationPage:
    """A page that is being served.

    Attributes:
      url: its address, as this machine's browsers reach it; its token is all that is needed to answer.
    """

    def __init__(self, process: "subprocess.Popen[str]", url: str, place: "_Jupyter | _Colab"):
        """Take over a server that has said where it is."""
        self._process, self._place = process, place
        self.url = url

    def show(self, height_px: int = HEIGHT_PX) -> None:
        """Show the page below the cell."""
        self._place.show(self.url, height_px)

    def close(self) -> None:
        """Stop the server; all answers are on disk. Closed twice, nothing happens."""
        _end(self._process)

    def __enter__(self) -> "AnnotationPage":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.close()


def open_annotation(
    archive: str,
    workdir: str | os.PathLike[str],
    *,
    features: str = "",
    thumbnails: str = "",
    labels: str = "",
    sentence: str = "",
    allowed_hosts: Sequence[str] = (),
    port: int = 0,
    show: bool = True,
    **settings: Any,
) -> AnnotationPage:
    """Serve the page that asks a person, and show it below the cell, in Jupyter or in Colab.

    It returns when the page can be opened; the features of new tiles are computed before that. Later
    calls on the same workdir go on from its answers.

    Args:
      archive: `folder:PATH` or another archive of tiles; empty is that of the workdir.
      workdir: for the answers and all else; made where absent.
      features: `.npz` of ready vectors of these tiles, as `--features`; empty uses a backbone.
      thumbnails: pictures for vectors, as `--thumbnails`: a folder (by id), a scene (by place) or a column
        of paths; empty is none.
      labels: CSV (`id,label`) of class labels to begin with, as `--labels`; empty is none.
      sentence: what "similar" means; empty asks on the page.
      allowed_hosts: more names that the page is called by, such as a notebook server's.
      port: 0 takes any that is free.
      show: whether to show the page at once; `AnnotationPage.show` does it again.
      **settings: of `ExperimentConfig`, such as `backbone` and `pretrained`.

    Raises:
      AnnealError: the page cannot be served; the message says why.
    """
    place = _place()
    asked = {
        "archive": archive,
        "workdir": str(workdir),
        "features": features,
        "thumbnails": thumbnails,
        "labels": labels,
        "sentence": sentence,
        "settings": settings,
        "port": port or _free_port(),  # known before the server starts: Colab names its host after it
    }
    asked["allowed_hosts"] = [*allowed_hosts, *place.outer_hosts(asked["port"])]
    asked["frames"] = list(place.frames)
    process = subprocess.Popen(
        [sys.executable, "-m", "anneal_jax.annotation.web.notebook"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a cell that is interrupted does not interrupt the server
    )
    try:
        url = _wait_for_url(process, asked)
    except BaseException:  # Ctrl-C, too, while features are computed
        _end(process)
        raise
    page = AnnotationPage(process, url, place)
    if show:
        page.show()
    return page


def _wait_for_url(process: "subprocess.Popen[str]", asked: dict[str, Any]) -> str:
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(OSError):  # it has ended already; what it said is read below
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
    for said in _lines(process.stdout):
        if "error" in said:
            raise AnnealError(said["error"])
        for line in said["notes"]:
            print(line)
        return said["url"]
    raise AnnealError("the page's server ended before it was ready; what it said stands in the log.")


def _end(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(OSError):  # it ended before it had read what was written
        process.stdin.close()  # which ends it, as the end of this process would
    try:
        process.wait(_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def _lines(stream: IO[str]) -> Iterator[dict[str, Any]]:
    for line in stream:
        if line.startswith("{"):
            yield json.loads(line)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# Where the notebook runs.


def _place() -> "_Jupyter | _Colab":
    return _Colab() if "google.colab" in sys.modules else _Jupyter()


class _Jupyter:
    """A notebook server of this machine, at any port."""

    frames: tuple[str, ...] = ("http://localhost:*", "http://127.0.0.1:*")

    def outer_hosts(self, port: int) -> list[str]:
        del port
        return []

    def show(self, url: str, height_px: int) -> None:
        try:
            from IPython.display import IFrame, display  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ConfigError(
                f"the page is shown in notebooks only, which bring IPython; open {url} in a browser."
            ) from error
        display(IFrame(url, width="100%", height=height_px))


class _Colab:
    """Colab's browser reaches this machine by a proxy, whose name it tells."""

    frames: tuple[str, ...] = ("https://colab.research.google.com", "https://*.googleusercontent.com")

    def __init__(self) -> None:
        from google.colab import output  # pyright: ignore[reportMissingImports]

        self._output: Any = output

    def outer_hosts(self, port: int) -> list[str]:
        url = cast(str, self._output.eval_js(f"google.colab.kernel.proxyPort({port})"))
        return [urlsplit(url).hostname or ""]

    def show(self, url: str, height_px: int) -> None:
        parts = urlsplit(url)
        self._output.serve_kernel_port_as_iframe(
            parts.port, path=parts.path, width="100%", height=str(height_px)
        )


# The other process.


def main() -> None:
    """Serve what one line of JSON on stdin asks for, until stdin ends."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from anneal_jax.annotation.web.server import serve
    from anneal_jax.annotation.web.settings import annotation_settings

    workdir = pathlib.Path(asked["workdir"])
    try:
        found = annotation_settings(
            workdir,
            asked["archive"],
            asked["features"],
            asked["settings"],
            thumbnails=asked["thumbnails"],
        )
        serve(
            found.config,
            workdir,
            pictures=found.pictures,
            port=asked["port"],
            allowed_hosts=asked["allowed_hosts"],
            frames=asked["frames"],
            labels=asked["labels"],
            sentence=asked["sentence"],
            on_ready=lambda url, notes: _say({"url": url, "notes": notes}),
        )
    except AnnealError as error:
        _say({"error": str(error)})
    except KeyboardInterrupt:  # of `_end_with_parent`
        pass


def _say(content: dict[str, Any]) -> None:
    print(json.dumps(content), flush=True)


def _end_with_parent() -> None:
    import signal

    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
