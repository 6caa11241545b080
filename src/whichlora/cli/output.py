"""How verbs speak: people get text on stderr and stdout, scripts get one JSON document on stdout.

Exit status: 0 done; 1 the answer is "no"; 2 the user's input is wrong; 3 the machine or the network failed.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

from rich.console import Console

from whichlora.errors import DiskFullError, MachineError, ProjectError, WhichloraError
from whichlora.quoting import quoted, with_project

P = ParamSpec("P")
R = TypeVar("R")

READER_LEFT = 141
"""Exit status when whoever read the output has left, as with '| head': 128 + SIGPIPE, as other programs give it."""


class _Console(Console):
    """Says nothing and ends when nobody reads any more; 1 would mean that the answer is "no"."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        reader_left()


def reader_left() -> NoReturn:
    """End quietly; nothing more is written to the closed output, not even when Python flushes it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(READER_LEFT)


progress_console = _Console(stderr=True, highlight=False, soft_wrap=True)
"""Progress, warnings and errors."""
answer_console = _Console(highlight=False, soft_wrap=True)
"""What the user asked for, when it is not JSON."""


def emit_json(schema: str, document: Mapping[str, Any]) -> None:
    """Print the one JSON document of a verb; `schema` is 'whichlora.<verb>/<version>'."""
    sys.stdout.write(json.dumps({"schema": schema, **document}, ensure_ascii=False, indent=1, default=str) + "\n")
    sys.stdout.flush()


def fail(error: WhichloraError, project: str = "") -> NoReturn:
    """Print one clear sentence and leave with the error's exit status; `project` is named in place of PROJECT."""
    progress_console.print(f"[bold red]✗[/] {_plain(error.message)}", markup=True)
    if error.fix:
        progress_console.print(f"  → {_plain(with_project(error.fix, project))}")
    raise SystemExit(error.exit_status)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors of a verb into a sentence and an exit status; Ctrl-C says how to go on."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except WhichloraError as error:
            fail(error, _project_named(kwargs))
        except BrokenPipeError:
            reader_left()
        except OSError as error:
            fail(_machine_error(error))
        except sqlite3.DatabaseError as error:
            fail(ProjectError(f"The project's store is damaged: {error}.",
                              fix="Save what can be saved with: whichlora doctor PROJECT --repair"),
                 _project_named(kwargs))
        except KeyboardInterrupt:
            progress_console.print("Stopped. Nothing finished was lost; the same command goes on from here.")
            raise SystemExit(130) from None

    return run


def _project_named(arguments: Mapping[str, object]) -> str:
    """The project folder among a verb's arguments as a shell would take it; '' where none, or more than one, is named.

    Layers below know no folder, so their fixes say PROJECT.
    """
    named = [value for name in ("folder", "project", "folders") if (value := arguments.get(name))]
    named = [path for value in named for path in (value if isinstance(value, list) else [value])]
    return quoted(str(named[0])) if len(named) == 1 else ""


def _machine_error(error: OSError) -> MachineError:
    """A sentence for what the operating system refused."""
    if error.errno == errno.ENOSPC:
        return DiskFullError("No space is left on the disk.", fix="Free some; everything finished is kept.")
    named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
    if named is not None and named.suffix == ".part":
        named = named.parent  # a file is written under another name first, which says nothing to a reader
    where = f" '{named}'" if named is not None else ""
    return MachineError(f"The system refused access to{where or ' a file'}: {error.strerror or error}.",
                        fix="Check that it exists and that you may read and write it.")


def _plain(text: str) -> str:
    """Escape what rich would take for markup."""
    return text.replace("[", "\\[")
