"""When a browser is opened, and when there is none."""

import subprocess
import threading
import webbrowser

import pytest

from anneal_jax.annotation.web import browser

URL = "http://127.0.0.1:8765/token/"
SHOWN = {"DISPLAY": ":0"}


@pytest.fixture
def opened(monkeypatch):
    """List what is started; no variable of this desktop counts."""
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(browser.sys, "platform", "linux")
    started = []
    monkeypatch.setattr(subprocess, "run", lambda **options: started.append(options))
    return started


def joined():
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(1)


@pytest.mark.parametrize(
    ("variables", "found", "is_opened"),
    [
        (SHOWN, webbrowser.UnixBrowser("firefox"), True),
        (SHOWN, webbrowser.BackgroundBrowser("xdg-open"), True),
        (SHOWN, webbrowser.GenericBrowser("lynx"), False),
        (SHOWN, None, False),
        ({}, webbrowser.UnixBrowser("firefox"), False),
        ({**SHOWN, "SSH_CONNECTION": "there"}, webbrowser.UnixBrowser("firefox"), False),
        ({"SSH_CONNECTION": "there", "BROWSER": "forward"}, None, True),
    ],
)
def test_a_browser_with_a_window_is_opened_quietly(monkeypatch, opened, variables, found, is_opened):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def get():
        if found is None:
            raise webbrowser.Error
        return found

    monkeypatch.setattr(webbrowser, "get", get)
    assert browser.open_browser(URL) == is_opened
    joined()
    assert [run["args"][-1] for run in opened] == [URL] * is_opened
    assert all(run["stdout"] == run["stderr"] == subprocess.DEVNULL for run in opened)
