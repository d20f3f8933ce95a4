"""Disks that are really full: file systems of a few kilobytes, where the right to mount one is there."""

import contextlib
import os
import shutil
import subprocess

import pytest


@contextlib.contextmanager
def small_disk(folder, size):
    """Mount a file system of `size`, such as "64k", at an empty folder; skip where that is not allowed."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    may_mount = os.geteuid() == 0 and shutil.which("mount")
    if not may_mount or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system, as root has it; it is absent here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
