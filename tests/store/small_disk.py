"""A real file system of a few megabytes for one script; it goes with the script."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap


def small_disk(tmp_path, script, *arguments, size="1600k"):
    """Run a script on a real file system of that size; mounted in a namespace of its own, so that it goes with it."""
    point = tmp_path / "small"
    point.mkdir()
    mount = f'mount -t tmpfs -o size={size} tmpfs "$1" && shift 1 && exec "$@"'
    inside = [sys.executable, "-c", textwrap.dedent(script), str(point), *map(str, arguments)]
    for rights in ((), ("--map-root-user",)):
        if shutil.which("unshare") is None:
            break
        words = ["unshare", "--mount", *rights, "sh", "-c", mount, "sh", str(point), *inside]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
        if "unshare:" not in done.stderr and "mount:" not in done.stderr:
            return done
    return None
