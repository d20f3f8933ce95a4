"""Bars: shown at once on a terminal, and nothing but rare lines elsewhere."""

import io
import sys

from anneal_jax.files.progress import progress_bar


class Terminal(io.StringIO):
    """A text that says it is a terminal."""

    def isatty(self):
        return True


def test_a_terminal_shows_a_bar_before_anything_is_done_and_none_after(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar(20, "features", "tile") as bar:
        assert terminal.getvalue().lstrip("\r").startswith("features:   0%")
        bar.update(20)
    assert not terminal.getvalue().rsplit("\r", 2)[-2].strip()


def test_a_short_step_writes_nothing_elsewhere(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with progress_bar(20, "features", "tile") as bar:
        for _ in range(20):
            bar.update(1)
    assert not log.getvalue()
