"""Options of `run` that say where pictures are made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from whichlora.cli.output import answer_console, emit_json
from whichlora.errors import UnknownNameError, UserError
from whichlora.run.choose import Hiring

EXECUTORS = ("local", "ray", "slurm")


def choose_hiring(executor: str, workers: int | None, ray_address: str, *, in_process: bool) -> Hiring:
    """The wishes of the command line.

    Raises:
        UnknownNameError: There is no such executor.
        UserError: The wishes contradict each other.
    """
    if executor not in EXECUTORS:
        raise UnknownNameError("executor", executor, EXECUTORS)
    if in_process and (workers is not None or executor != "local"):
        raise UserError("--in-process uses no workers at all.", fix="Leave --workers and --executor out.")
    return Hiring("ray" if executor == "ray" else "local", workers, ray_address, in_process)


def submit(folder: Path, words: Sequence[str], settings: Sequence[str], *, json: bool) -> None:
    """Hand the same run, with these further options, to Slurm and say where to look."""
    from whichlora.run.slurm import submit_run

    job = submit_run(folder, words, settings)
    if json:
        emit_json("whichlora.run/1", {"job": job.id, "log": str(job.log)})
    else:
        answer_console.print(f"Job {job.id} was submitted; it writes to {job.log}. When the scheduler takes its "
                             "machine away, it goes on in a new one from where it stopped.")
