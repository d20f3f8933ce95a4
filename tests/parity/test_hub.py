"""The real client of the hub, against a server on this machine: nothing else is asked."""

import hashlib
import http.server
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from safetensors.numpy import save_file

pytest.importorskip("huggingface_hub", reason="needs huggingface_hub; run scripts/parity")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCRIPT = """
import sys
from anneal_jax.models.hub import fetch
from anneal_jax.models.pretrained import weights_digest
path = fetch(sys.argv[1])
print(weights_digest(sys.argv[1]), *sorted(p.name for p in path.parent.iterdir()))
"""


@pytest.fixture
def server(tmp_path):
    save_file({"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}, tmp_path / "model.safetensors")
    files = {
        "model.safetensors": (tmp_path / "model.safetensors").read_bytes(),
        "config.json": b'{"architecture": "resnet18"}',
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(has_body=False)

        def do_GET(self):
            self.answer(has_body=True)

        def answer(self, has_body):
            self.server.asked.append(f"{self.command} {self.path}")
            data = files.get(self.path.rpartition("/")[2])
            is_gated = "dinov3" in self.path
            self.send_response(401 if is_gated else 404 if data is None else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            if is_gated or data is None:
                self.send_header("X-Error-Code", "GatedRepo" if is_gated else "EntryNotFound")
                data = b""
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if has_body:
                self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked, running.weights = [], files["model.safetensors"]
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_weights_come_from_the_hub_once_and_then_from_the_cache(server, tmp_path):
    settings = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }

    def run(**more):
        command = [sys.executable, "-c", SCRIPT, "hf:timm/resnet18.tv_in1k"]
        environment = os.environ | settings | more
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    first = run()
    assert first.returncode == 0, first.stderr
    digest = hashlib.sha256(server.weights).hexdigest()
    assert first.stdout.split() == [digest, "config.json", "model.safetensors"]
    num_asked = len(server.asked)
    assert num_asked
    assert run().stdout == first.stdout
    assert run(HF_HUB_OFFLINE="1").stdout == first.stdout
    assert len(server.asked) == num_asked


def test_a_gated_repository_is_asked_once_and_refused_in_one_sentence(server, tmp_path):
    repo = "facebook/dinov3-vits16-pretrain-lvd1689m"
    settings = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "hub"),
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-c", SCRIPT, f"hf:{repo}"]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("anneal_jax.errors.WeightsError: the hub restricts access to")
    assert f"accept the DINOv3 License of Meta at https://huggingface.co/{repo}" in last
    assert "Retrying" not in done.stderr
    asked = [request for request in server.asked if repo in request]  # the client asks for more of its own
    assert asked == [f"HEAD /{repo}/resolve/main/model.safetensors"]


def test_an_unreachable_hub_is_one_sentence(tmp_path):
    settings = {
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path / "hub"),
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-c", SCRIPT, "hf:timm/resnet18.tv_in1k"]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert "WeightsError: there is no response from http://127.0.0.1:9/timm/resnet18" in done.stderr
    assert "Retrying" not in done.stderr
