"""The address of a page: the same at every start, for its owner alone, and told while it is open."""

import json
import os
import socket
import stat

import pytest

from anneal_jax.annotation.web.listening import PORT, listen
from anneal_jax.annotation.web.page_address import (
    PageAddress,
    draw_token,
    is_distrusted,
    keep_page,
    open_page,
    read_page,
)
from anneal_jax.errors import ConfigError
from anneal_jax.files import atomic
from anneal_jax.files.workdir import holder, locked

PAGE = PageAddress("t" * 32, "http://127.0.0.1:8765/tttt/", "holder")


def test_what_is_kept_comes_back_and_is_for_the_owner_alone(tmp_path):
    assert read_page(tmp_path) is None and not is_distrusted(tmp_path)
    keep_page(tmp_path, PAGE)
    assert read_page(tmp_path) == PAGE and PAGE.port == 8765
    assert stat.S_IMODE((tmp_path / "page.json").stat().st_mode) == 0o600
    assert len(draw_token()) == 32


def test_a_private_file_is_private_from_its_first_moment(tmp_path, monkeypatch):
    seen = []

    def look(descriptor):
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            seen.append(stat.S_IMODE(mode))

    monkeypatch.setattr(os, "fsync", look)
    old = os.umask(0)
    try:
        atomic.write_private(tmp_path / "secret", "text")
    finally:
        os.umask(old)
    assert seen == [0o600]


def _link(path):
    other = path.rename(path.with_name("other"))
    path.symlink_to(other)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.chmod(0o644),
        lambda path: path.chmod(0o620),
        lambda path: path.write_text("{"),
        lambda path: path.write_text(json.dumps({"token": "short"})),
        lambda path: path.write_text(json.dumps({"token": "../" * 12})),
        lambda path: path.write_text(json.dumps(PAGE._replace(url="nonsense")._asdict())),
        lambda path: path.write_text(json.dumps(PAGE._asdict() | {"more": 1})),
        _link,
        lambda path: (path.unlink(), os.mkfifo(path, 0o600)),
    ],
)
def test_what_others_could_read_or_is_damaged_is_not_trusted(tmp_path, spoil):
    keep_page(tmp_path, PAGE)
    spoil(tmp_path / "page.json")
    assert read_page(tmp_path) is None and is_distrusted(tmp_path)


def test_a_link_is_replaced_and_what_it_leads_to_is_left(tmp_path):
    (tmp_path / "other").write_text("theirs")
    (tmp_path / "page.json").symlink_to(tmp_path / "other")
    keep_page(tmp_path, PAGE)
    assert (tmp_path / "other").read_text() == "theirs" and read_page(tmp_path) == PAGE


def test_only_the_run_that_holds_the_workdir_has_an_open_page(tmp_path):
    with locked(tmp_path / "work"):
        keep_page(tmp_path / "work", PAGE._replace(holder=holder(tmp_path / "work")))
        assert open_page(tmp_path / "work") == PAGE.url
    assert holder(tmp_path / "work") == "" == open_page(tmp_path / "work")  # as after a kill
    with locked(tmp_path / "work"):  # another run, which serves no page
        assert open_page(tmp_path / "work") == ""
    assert open_page(tmp_path / "none") == ""


def test_a_taken_port_is_passed_over_unless_it_was_asked_for():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="--port"):
            listen("127.0.0.1", port)
        with listen("127.0.0.1", PAGE._replace(url=f"http://127.0.0.1:{port}/x/")) as other:
            assert other.getsockname()[1] != port
            assert other.getsockname()[1] >= PORT
    with listen("127.0.0.1", PAGE._replace(url=f"http://127.0.0.1:{port}/x/")) as again:
        assert again.getsockname()[1] == port


def test_an_address_that_is_none_of_this_machine_is_refused_at_once():
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", None)
