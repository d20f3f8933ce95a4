"""The one command in a process of its own: what it prints, and what the page says."""

import os
import pty
import shutil
import socket
import stat
import subprocess
import sys
import termios
import threading
from urllib.parse import urlsplit

import pytest

from tests.annotation.scripted import Server
from tests.conftest import ROOT

PORT = 8765


class Terminal:
    """A terminal that remembers what was written to it."""

    def __init__(self):
        master, self.end = pty.openpty()
        termios.tcsetwinsize(self.end, (24, 100))
        self._thread = threading.Thread(target=self._read, args=(master,), daemon=True)
        self._parts = []
        self._thread.start()

    def _read(self, master):
        try:
            while part := os.read(master, 65536):
                self._parts.append(part)
        except OSError:  # nobody has it open any more
            pass

    def close(self):
        """Return what was written, once no process has it open."""
        os.close(self.end)
        self._thread.join(30)
        return b"".join(self._parts).decode(errors="replace")


@pytest.fixture(scope="module")
def damaged(tiles_folder, tmp_path_factory):
    """The tiles, and a file that is none."""
    folder = tmp_path_factory.mktemp("damaged") / "tiles"
    shutil.copytree(tiles_folder, folder)
    (folder / "broken.jpg").write_bytes(b"broken")
    return folder


@pytest.mark.slow
def test_one_command_from_the_first_bar_to_the_second_start(damaged, tmp_path):
    """Bars, the port passed over, the files left out, the warning, and the address of an open page."""
    terminal, workdir = Terminal(), tmp_path / "work"
    flags = (str(damaged), "--backbone=tiny_cnn", "--sentence=Same", f"--cache_dir={tmp_path / 'cache'}")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", PORT))
            taken.listen()
        except OSError:
            pass  # somebody else has it, which is as good
        with Server(workdir, *flags, port=None, stderr=terminal.end) as server:
            assert urlsplit(server.url).port != PORT
            warnings, notes = server.get("state")["warnings"], server.get("notes")
            assert len(warnings) == 1 and "tiny_cnn has random weights" in warnings[0]
            assert warnings[0] in notes["notes"] and notes["left_out"] == ["broken.jpg"]
            assert (workdir / "left_out.txt").read_text() == "'broken.jpg'\n"
            assert stat.S_IMODE((workdir / "page.json").stat().st_mode) == 0o600
            command = [
                sys.executable,
                "launch/annotate.py",
                str(damaged),
                f"--workdir={workdir}",
                "--nobrowser",
            ]
            second = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
            )
            assert second.returncode == 0 and second.stdout.count(server.url) == 1, second.stderr
            assert server.get("state")["num_answers"] == 0  # the first one is still there
    shown = terminal.close()
    places = [shown.index(f"{name}:   0%") for name in ("checking images", "features", "neighbours")]
    assert places == sorted(places)


def test_the_address_is_the_same_after_a_restart(tiles_folder, tmp_path):
    flags = (str(tiles_folder), "--backbone=pixels", "--sentence=Same", f"--cache_dir={tmp_path / 'cache'}")
    urls = []
    for _ in range(2):
        with Server(tmp_path / "work", *flags, port=None) as server:
            urls.append(server.url)
    assert urls[0] == urls[1]
