"""How verbs speak: people get text on stderr and stdout, scripts get one JSON document on stdout.

Exit status: 0 done; 1 the answer is "no"; 2 the user's input is wrong; 3 the machine or the network failed.
"""

from __future__ import annotations

import errno
import json
import sqlite3
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NoReturn, ParamSpec, TypeVar

from rich.console import Console

from whichlora.errors import DiskFullError, MachineError, ProjectError, WhichloraError

P = ParamSpec("P")
R = TypeVar("R")

progress_console = Console(stderr=True, highlight=False, soft_wrap=True)
"""Progress, warnings and errors."""
answer_console = Console(highlight=False, soft_wrap=True)
"""What the user asked for, when it is not JSON."""


def emit_json(schema: str, document: Mapping[str, Any]) -> None:
    """Print the one JSON document of a verb; `schema` is 'whichlora.<verb>/<version>'."""
    sys.stdout.write(json.dumps({"schema": schema, **document}, ensure_ascii=False, indent=1, default=str) + "\n")
    sys.stdout.flush()


def fail(error: WhichloraError) -> NoReturn:
    """Print one clear sentence and leave with the error's exit status."""
    progress_console.print(f"[bold red]✗[/] {_plain(error.message)}", markup=True)
    if error.fix:
        progress_console.print(f"  → {_plain(error.fix)}")
    raise SystemExit(error.exit_status)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors of a verb into a sentence and an exit status; Ctrl-C says how to go on."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except WhichloraError as error:
            fail(error)
        except OSError as error:
            fail(_machine_error(error))
        except sqlite3.DatabaseError as error:
            fail(ProjectError(f"The project's store is damaged: {error}.",
                              fix="Save what can be saved with: whichlora doctor PROJECT --repair"))
        except KeyboardInterrupt:
            progress_console.print("Stopped. Nothing finished was lost; the same command goes on from here.")
            raise SystemExit(130) from None

    return run


def _machine_error(error: OSError) -> MachineError:
    """A sentence for what the operating system refused."""
    if error.errno == errno.ENOSPC:
        return DiskFullError("No space is left on the disk.", fix="Free some; everything finished is kept.")
    where = f" '{error.filename}'" if error.filename else ""
    return MachineError(f"The system refused access to{where or ' a file'}: {error.strerror or error}.",
                        fix="Check that it exists and that you may read and write it.")


def _plain(text: str) -> str:
    """Escape what rich would take for markup."""
    return text.replace("[", "\\[")
