"""Paths in commands that a person copies into a shell."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path


def quoted(path: Path | str) -> str:
    """The path as one argument of a command that is printed for copying.

    Quoted only where needed: as POSIX shells read it, and on Windows as programs there split their command line.
    A path that would be read as an option gets './' in front.
    """
    text = str(path)
    text = f".{os.sep}{text}" if text.startswith("-") else text
    return subprocess.list2cmdline([text]) if os.name == "nt" else shlex.quote(text)


def with_project(text: str, project: str) -> str:
    """The text with `project`, as `quoted` gives it, in place of the word PROJECT; unchanged where '' is given.

    Layers that know no folder write PROJECT; a text that names the folder already is left alone.
    """
    return text if not project or project in text else re.sub(r"\bPROJECT\b", lambda _: project, text)
