"""Shows the page inside a notebook: its server runs in a separate process, shown in a frame.

  from anneal_jax import open_annotation

  page = open_annotation("folder:tiles", "runs/mine", backbone="mobilenet_v2", pretrained="weights.npz")
  page.close()

A process, not a thread: a running cell does not delay answers, and the server stops with the kernel.
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
"""Height of the frame, with room for two tiles and the buttons."""

_TIMEOUT_S = 20.0  # until the store must be closed


class AnnotationPage:
    """A running page.

    Attributes:
      url: its address for browsers on this machine; anyone with its token can answer.
    """

    def __init__(self, process: "subprocess.Popen[str]", url: str, place: "_Jupyter | _Colab"):
        """Take over a server that has reported its address."""
        self._process, self._place = process, place
        self.url = url

    def show(self, height_px: int = HEIGHT_PX) -> None:
        """Show the page below the cell."""
        self._place.show(self.url, height_px)

    def close(self) -> None:
        """Stop the server; all answers are on disk. Closing twice does nothing."""
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
    """Serve the annotation page and show it below the cell, in Jupyter or Colab.

    It returns when the page can be opened; the features of new tiles are computed first. Later calls with
    the same workdir continue from its answers.

    Args:
      archive: `folder:PATH` or another archive of tiles; empty uses that of the workdir.
      workdir: folder for the answers and all other files; created if missing.
      features: `.npz` of precomputed vectors of these tiles, as `--features`; empty uses a backbone.
      thumbnails: pictures for vectors, as `--thumbnails`: a folder (by id), a scene (by place) or a column
        of paths; empty for none.
      labels: CSV (`id,label`) of class labels to start from, as `--labels`; empty for none.
      sentence: what "similar" means; if empty, the page asks.
      allowed_hosts: further host names of the page, such as a notebook server's.
      port: the port; 0 takes any free one.
      show: whether to show the page now; `AnnotationPage.show` shows it again.
      **settings: settings of `ExperimentConfig`, such as `backbone` and `pretrained`.

    Raises:
      AnnealError: the page cannot be served; the message says why.
    """
    place = _place()
    asked: dict[str, Any] = {
        "archive": archive,
        "workdir": str(workdir),
        "features": features,
        "thumbnails": thumbnails,
        "labels": labels,
        "sentence": sentence,
        "settings": settings,
        "port": port or _free_port(),  # chosen before the server starts: Colab derives a host name from it
    }
    asked["allowed_hosts"] = [*allowed_hosts, *place.outer_hosts(asked["port"])]
    asked["frames"] = list(place.frames)
    process = subprocess.Popen(
        [sys.executable, "-m", "anneal_jax.annotation.web.notebook"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # interrupting a cell does not interrupt the server
    )
    try:
        url = _wait_for_url(process, asked)
    except BaseException:  # including Ctrl-C while features are computed
        _end(process)
        raise
    page = AnnotationPage(process, url, place)
    if show:
        page.show()
    return page


def _wait_for_url(process: "subprocess.Popen[str]", asked: dict[str, Any]) -> str:
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(OSError):  # it has already ended; its output is read below
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
    for said in _lines(process.stdout):
        if "error" in said:
            raise AnnealError(said["error"])
        for line in said["notes"]:
            print(line)
        return said["url"]
    raise AnnealError("the page's server stopped before it was ready; the log has its messages.")


def _end(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(OSError):  # it ended before it read its input
        process.stdin.close()  # this stops it, as the end of this process would
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


# The environments of the notebook.


def _place() -> "_Jupyter | _Colab":
    return _Colab() if "google.colab" in sys.modules else _Jupyter()


class _Jupyter:
    """A notebook server on this machine, at any port."""

    frames: tuple[str, ...] = ("http://localhost:*", "http://127.0.0.1:*")

    def outer_hosts(self, port: int) -> list[str]:
        del port
        return []

    def show(self, url: str, height_px: int) -> None:
        try:
            from IPython.display import IFrame, display
        except ImportError as error:
            raise ConfigError(
                f"the page can only be shown in a notebook, which needs IPython; open {url} in a browser."
            ) from error
        display(IFrame(url, width="100%", height=height_px))


class _Colab:
    """Colab: the browser reaches this machine through a proxy, whose name Colab provides."""

    frames: tuple[str, ...] = ("https://colab.research.google.com", "https://*.googleusercontent.com")

    def __init__(self) -> None:
        from google.colab import output

        self._output: Any = output

    def outer_hosts(self, port: int) -> list[str]:
        url = cast(str, self._output.eval_js(f"google.colab.kernel.proxyPort({port})"))
        return [urlsplit(url).hostname or ""]

    def show(self, url: str, height_px: int) -> None:
        parts = urlsplit(url)
        self._output.serve_kernel_port_as_iframe(
            parts.port, path=parts.path, width="100%", height=str(height_px)
        )


# The server process.


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
