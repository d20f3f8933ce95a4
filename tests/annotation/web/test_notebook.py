"""The page in a notebook: a server of its own, shown in Jupyter's frame or by Colab's proxy."""

import json
import os
import subprocess
import sys
import types
import urllib.request
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from anneal_jax import AnnealError, open_annotation
from anneal_jax.annotation.web.access import make_access

SETTINGS = {"backbone": "pixels", "sentence": "Same land use"}


@pytest.fixture
def shown(monkeypatch):
    """Stand in for IPython; what is displayed is listed."""
    displayed = []
    module = types.ModuleType("IPython.display")
    module.IFrame = lambda url, **size: (url, size)
    module.display = displayed.append
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return displayed


@pytest.fixture
def colab(monkeypatch):
    """Stand in for google.colab; what it is asked is listed."""
    asked = []
    output = types.ModuleType("google.colab.output")
    output.eval_js = lambda script: asked.append(script) or "https://8123-gpu-x.prod.colab.dev/"
    output.serve_kernel_port_as_iframe = lambda port, **options: asked.append((port, options))
    package = types.ModuleType("google.colab")
    package.output = output
    monkeypatch.setitem(sys.modules, "google.colab", package)
    monkeypatch.setitem(sys.modules, "google.colab.output", output)
    return asked


@pytest.mark.slow
def test_a_notebook_shows_the_page_and_answers_outlive_it(tiles_folder, tmp_path, shown, processes):
    with open_annotation(f"folder:{tiles_folder}", tmp_path / "work", **SETTINGS) as page:
        ((url, size),) = shown
        assert url == page.url and size == {"width": "100%", "height": 720}
        with urllib.request.urlopen(page.url, timeout=60) as response:
            policy = response.headers["content-security-policy"]
        assert "frame-ancestors http://localhost:* http://127.0.0.1:*" in policy
        state = json.load(urllib.request.urlopen(page.url + "state", timeout=60))
        assert state["sentence"] == "Same land use" and state["sentence_is_settled"]
        with pytest.raises(AnnealError, match="another run is using"):
            open_annotation("", tmp_path / "work", show=False)
    page.close()
    assert (tmp_path / "work" / "answers.sqlite.seal").read_text() != ""  # closed, not killed
    with open_annotation("", tmp_path / "work", show=False) as page:  # the workdir knows the rest
        assert json.load(urllib.request.urlopen(page.url + "state", timeout=60))["sentence"]
    assert processes[-1].returncode == 0


@pytest.mark.slow
def test_a_notebook_shows_thumbnails_for_vectors(tmp_path):
    rng = np.random.default_rng(0)
    names = np.array([f"t{row}" for row in range(12)])
    np.savez(tmp_path / "v.npz", embeddings=rng.normal(size=(12, 4)).astype(np.float32), ids=names)
    for name in names:
        Image.new("RGB", (16, 16), (200, 10, 10)).save(tmp_path / f"{name}.png")
    vectors = f"embeddings:{tmp_path / 'v.npz'}"
    with open_annotation(
        vectors, tmp_path / "work", thumbnails=str(tmp_path), sentence="Alike?", show=False
    ) as page:
        assert json.load(urllib.request.urlopen(page.url + "state", timeout=60))["shows_tiles"]
        with Image.open(urllib.request.urlopen(page.url + "tile/3.jpg", timeout=60)) as tile:
            assert np.abs(np.asarray(tile)[0, 0].astype(int) - (200, 10, 10)).max() < 8


@pytest.mark.slow
def test_what_is_wrong_is_one_sentence(tmp_path):
    with pytest.raises(AnnealError, match="there is no setting 'bacbone'"):
        open_annotation("folder:nowhere", tmp_path / "work", bacbone="pixels")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [('print(\'{"error": "no room here."}\')', r"no room here\."), ("pass", "stopped before it was ready")],
)
def test_a_server_that_ends_before_it_is_asked_is_reported_and_waited_for(
    tmp_path, monkeypatch, said, sentence
):
    started, popen = [], subprocess.Popen

    def ended(command, **options):
        child = popen([sys.executable, "-c", said], **options)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and still to be waited for
        started.append(child)
        return child

    monkeypatch.setattr(subprocess, "Popen", ended)
    with pytest.raises(AnnealError, match=sentence):
        open_annotation("folder:tiles", tmp_path, port=8123)
    assert started[0].returncode == 0 and started[0].stdout.closed and started[0].stdin.closed


class _Child:
    """A server's process that has said where it is."""

    def __init__(self):
        self.asked, self.stdin = None, self
        self.stdout = iter(['{"url": "http://127.0.0.1:8123/token/", "notes": []}\n'])

    def write(self, line):
        self.asked = json.loads(line)

    def flush(self):
        pass


def test_colab_is_called_by_its_proxy_and_may_frame_the_page(tmp_path, colab, monkeypatch):
    child = _Child()
    monkeypatch.setattr(subprocess, "Popen", lambda *command, **options: child)
    open_annotation("folder:tiles", tmp_path, port=8123, allowed_hosts=["mine.example"])
    script, (port, options) = colab
    assert script == "google.colab.kernel.proxyPort(8123)" and port == 8123
    assert options == {"path": "/token/", "width": "100%", "height": "720"}
    asked = child.asked
    assert asked["allowed_hosts"] == ["mine.example", "8123-gpu-x.prod.colab.dev"]
    access = make_access("127.0.0.1", asked["allowed_hosts"], asked["frames"])
    outer = "https://8123-gpu-x.prod.colab.dev"
    assert access.may_call(urlsplit(outer).netloc) and access.may_write(outer, "localhost:8123")
    assert not access.may_write("https://colab.research.google.com", "localhost:8123")
    assert "https://*.googleusercontent.com" in access.frames


def test_without_a_notebook_the_address_is_reported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    monkeypatch.setattr(subprocess, "Popen", lambda *command, **options: _Child())
    page = open_annotation("folder:tiles", tmp_path, show=False)
    with pytest.raises(AnnealError, match=r"open http://127.0.0.1:8123/token/ in a browser"):
        page.show()
