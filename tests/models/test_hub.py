"""Names on the hub, against a stand-in for its client; the real one is met in tests/parity/test_hub.py."""

import sys
import threading
import types

import pytest

from anneal_jax.errors import WeightsError
from anneal_jax.models.hub import fetch


class HfHubHTTPError(Exception):
    pass


class RemoteEntryNotFoundError(HfHubHTTPError):
    pass


class GatedRepoError(HfHubHTTPError):
    def __init__(self, status):
        super().__init__("more\nthan one line")
        self.response = types.SimpleNamespace(status_code=status)


class FakeHub(types.ModuleType):
    """A hub of one repository; remembers what was asked of the network."""

    def __init__(self, folder, names):
        super().__init__("huggingface_hub")
        self.errors = types.ModuleType("huggingface_hub.errors")
        self.errors.RemoteEntryNotFoundError = RemoteEntryNotFoundError
        self.errors.HfHubHTTPError = HfHubHTTPError
        self.folder, self.names, self.absent, self.asked = folder / "commit", names, set(), []

    def try_to_load_from_cache(self, repo, name, *, revision):
        path = self.folder / name
        return str(path) if path.exists() else object() if name in self.absent else None

    def hf_hub_url(self, repo, name, *, revision):
        return f"https://hub/{repo}/{revision or 'main'}/{name}"

    def get_hf_file_metadata(self, url, *, timeout):
        if url.rpartition("/")[2] not in self.names:
            raise RemoteEntryNotFoundError(url)

    def hf_hub_download(self, repo, name, *, revision):
        self.asked.append((repo, name, revision))
        if name not in self.names:
            self.absent.add(name)
            raise RemoteEntryNotFoundError(name)
        self.folder.mkdir(exist_ok=True)
        (self.folder / name).write_text(name)
        return str(self.folder / name)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    fake = FakeHub(tmp_path, ["model.safetensors", "config.json"])
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", fake.errors)
    return fake


def test_weights_and_what_lies_beside_are_fetched_once_of_one_commit(hub):
    first = fetch("hf:timm/resnet18.tv_in1k")
    assert first.read_text() == "model.safetensors"
    assert sorted(path.name for path in first.parent.iterdir()) == ["config.json", "model.safetensors"]
    repo = "timm/resnet18.tv_in1k"
    expected = [
        ("model.safetensors", None),
        ("config.json", "commit"),
        ("preprocessor_config.json", "commit"),
    ]
    assert hub.asked == [(repo, *rest) for rest in expected]
    assert fetch("hf:timm/resnet18.tv_in1k") == first
    assert len(hub.asked) == 3


def test_a_revision_may_be_named(hub):
    fetch("hf:facebook/dinov2-small@refs/pr/1")
    assert hub.asked[0] == ("facebook/dinov2-small", "model.safetensors", "refs/pr/1")


def test_a_repository_without_weights_is_refused(hub):
    hub.names.remove("model.safetensors")
    with pytest.raises(WeightsError, match=r"hf:owner/name has no model\.safetensors"):
        fetch("hf:owner/name")


def test_what_the_network_raises_becomes_one_sentence(hub, monkeypatch):
    def broken(repo, name, *, revision):
        raise ConnectionError("no route.\nMore lines")

    monkeypatch.setattr(hub, "hf_hub_download", broken)
    with pytest.raises(
        WeightsError, match=r"cannot fetch hf:owner/name from the hub \(no route\); correct"
    ):
        fetch("hf:owner/name")


def test_an_unreachable_hub_is_asked_once_and_named_by_the_files_address(hub, monkeypatch):
    def offline(url, *, timeout):
        raise ConnectionError("no route.\nMore lines")

    monkeypatch.setattr(hub, "get_hf_file_metadata", offline)
    with pytest.raises(
        WeightsError,
        match=r"no response from https://hub/owner/name/main/model\.safetensors \(no route\); connect",
    ):
        fetch("hf:owner/name")
    assert hub.asked == []


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("repo", "licence"),
    [
        ("facebook/dinov3-vits16-pretrain-lvd1689m", "the DINOv3 License of Meta"),
        ("owner/name", "its licence"),
    ],
)
def test_a_refusal_names_the_page_of_the_licence_and_the_token(hub, monkeypatch, repo, licence, status):
    def refuse(url, *, timeout):
        raise GatedRepoError(status)

    monkeypatch.setattr(hub, "get_hf_file_metadata", refuse)
    with pytest.raises(WeightsError) as refusal:
        fetch(f"hf:{repo}")
    assert str(refusal.value) == (
        f"the hub restricts access to {repo} (HTTP {status}); check the name, accept {licence} at "
        f"https://huggingface.co/{repo} and set HF_TOKEN to a token of that account, or give the path of a "
        "downloaded model.safetensors"
    )
    assert hub.asked == []


def test_a_hub_that_stays_silent_is_not_waited_for(hub, monkeypatch):
    is_over = threading.Event()
    monkeypatch.setattr(hub, "get_hf_file_metadata", lambda url, *, timeout: is_over.wait())
    monkeypatch.setattr("anneal_jax.models.hub._TIMEOUT_S", 0.01)
    with pytest.raises(WeightsError, match=r"none in 0 seconds"):
        fetch("hf:owner/name")
    is_over.set()
    assert hub.asked == []


@pytest.mark.parametrize("source", ["hf:", "hf:resnet18", "hf:a/b/c", "hf:a/b@", "hf:../b/c", "hf:a b/c"])
def test_other_forms_are_refused_before_the_network_is_asked(hub, source):
    with pytest.raises(WeightsError, match="write hf:OWNER/NAME"):
        fetch(source)
    assert hub.asked == []


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=r"to download it, pip install 'anneal-jax\[hub\]'"):
        fetch("hf:timm/resnet18.tv_in1k")
