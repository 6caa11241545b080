"""Every error that whichlora raises on purpose, as one tree.

    WhichloraError
    ├── UserError            exit status 2: the input is wrong, and the user can mend it
    │   ├── SuiteError           a suite file, with its line
    │   ├── PhotoError           a photograph that cannot be used
    │   ├── ProjectError         a project folder that is missing, foreign or busy
    │   ├── MissingFileError     a file that the suite names is not there (yet)
    │   └── UnknownNameError     a name that nothing bears; lists its neighbours
    ├── RefusedError         exit status 1: a file or request was understood and refused, with a reason
    └── MachineError         exit status 3: disk, memory, device or network failed
        ├── DiskFullError
        └── HubError

A message says what happened, with the value, and what to do next. No traceback is shown for these.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_PASSWORD = re.compile(r"(?<=://)[^/\s@]+(?=@)")


def without_passwords(text: str) -> str:
    """The text with 'user:password@' taken out of its addresses: sentences end up in logs."""
    return _PASSWORD.sub("…", text)


class WhichloraError(Exception):
    """Root of the tree. `exit_status` is what the command line returns."""

    exit_status = 3

    def __init__(self, message: str, *, fix: str = "") -> None:
        self.message = without_passwords(message)
        self.fix = without_passwords(fix)
        super().__init__(f"{self.message} {self.fix}".strip())


class UserError(WhichloraError):
    """The user's input is wrong and can be mended by the user."""

    exit_status = 2


class SuiteError(UserError):
    """A suite file does not say what it must; the message carries file and line."""


class PhotoError(UserError):
    """A photograph is missing, unreadable or unfit."""


class ProjectError(UserError):
    """A project folder is missing, is not one, or belongs to another run."""


class MissingFileError(UserError):
    """A file that the suite names is not there, or not there yet."""


class UnknownNameError(UserError):
    """A name that nothing bears. The message lists the nearest known names."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, fix: str = "") -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        listing = ", ".join(near) if near else ", ".join(known[:12])
        lead = "Did you mean" if near else "Known"
        super().__init__(f"There is no {kind} named '{name}'. {lead}: {listing or 'none'}.", fix=fix)
        self.name = name
        self.known = known


class RefusedError(WhichloraError):
    """A file or request was understood and is refused; `reason` says why in one sentence."""

    exit_status = 1

    def __init__(self, reason: str, *, fix: str = "") -> None:
        super().__init__(reason, fix=fix)
        self.reason = reason


class MachineError(WhichloraError):
    """The machine or the network failed, not the user."""

    exit_status = 3


class DiskFullError(MachineError):
    """No room is left where a file must go."""


class HubError(MachineError):
    """A model hub could not be reached or answered with an error."""
