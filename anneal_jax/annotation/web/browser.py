"""Opens a page in the browser of this desktop, if there is one, without waiting or printing."""

import os
import subprocess
import sys
import threading
import webbrowser


def open_browser(url: str) -> bool:
    """Open an address in a separate process, and return whether there is a browser.

    There is none over SSH, without a display, or when only terminal browsers are installed. `$BROWSER` is
    used in any case, because editors that forward addresses from a remote machine set it.
    """
    if not (os.environ.get("BROWSER") or _has_window_browser()):
        return False
    command = [sys.executable, "-m", "webbrowser", url]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    run = {"args": command, "check": False, "start_new_session": True, **quiet}
    threading.Thread(target=subprocess.run, kwargs=run, daemon=True).start()
    return True


def _has_window_browser() -> bool:
    has_display = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not has_display or os.environ.get("SSH_CONNECTION"):
        return False
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return False
    is_of_terminal = isinstance(found, webbrowser.GenericBrowser)
    return not is_of_terminal or isinstance(found, webbrowser.BackgroundBrowser)
