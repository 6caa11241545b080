"""A thin launcher for Slurm: the job runs `whichlora run` itself, so nothing about a run is different there.

submitit asks Slurm for the machine and puts a preempted or timed-out job back into the queue; the run goes on from what
the store holds. Needs the extra 'slurm'.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichlora.errors import MachineError, UserError

JOBS_FOLDER = "jobs"


@dataclass(frozen=True)
class SubmittedJob:
    """A job in the queue."""

    id: str
    """Slurm's number."""
    log: Path
    """Where it writes."""


class RunCommand:
    """What the job does; puts itself back into the queue when the machine is taken away."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)

    def __call__(self) -> int:
        """Run the command; its exit status, which must be 0 or 1 ('the answer is no').

        Raises:
            RuntimeError: It failed, so that Slurm shows the job as failed.
        """
        status = subprocess.run(self.words, check=False).returncode
        if status not in (0, 1):
            raise RuntimeError(f"whichlora ended with status {status}: {' '.join(self.words)}")
        return status

    def checkpoint(self, *_: Any, **__: Any) -> Any:
        """Asked by submitit before the machine goes: the same command again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit_run(
    folder: Path, words: Sequence[str], settings: Sequence[str], *, cluster: str | None = None
) -> SubmittedJob:
    """Submit `whichlora run FOLDER WORDS…`.

    Args:
        folder: The project, on a disk that the job's machine sees under the same path.
        words: Further options of the verb.
        settings: KEY=VALUE for submitit's executor, such as 'slurm_partition=gpu' or 'timeout_min=600'.
        cluster: 'slurm', 'local' or 'debug'; None lets submitit look for Slurm.

    Raises:
        MachineError: submitit or Slurm is not there.
        UserError: A setting is not understood.
    """
    return _described(launch(folder, words, settings, cluster=cluster))


def launch(folder: Path, words: Sequence[str], settings: Sequence[str], *, cluster: str | None) -> Any:
    """As `submit_run`; returns submitit's own job."""
    try:
        import submitit
    except ImportError as error:
        raise MachineError("Slurm jobs need submitit, which is not installed.",
                           fix="Install it with: pip install 'whichlora[slurm]'") from error
    from submitit.slurm.slurm import SlurmExecutor

    if cluster is None and SlurmExecutor.affinity() <= 0:
        raise MachineError("There is no Slurm here: 'srun' was not found.",
                           fix="Run this on a login node of the cluster, or leave --executor slurm out.")
    parameters = dict(map(_setting, settings))
    executor = submitit.AutoExecutor(folder=folder.resolve() / JOBS_FOLDER, cluster=cluster or "slurm")
    try:
        executor.update_parameters(**{"name": f"whichlora-{folder.resolve().name}", "gpus_per_node": 1,
                                      "timeout_min": 24 * 60, **parameters})
    except (NameError, ValueError, TypeError, AssertionError) as error:
        raise UserError(f"Slurm settings were not understood: {str(error).splitlines()[0]}",
                        fix="Use submitit's names, such as slurm_partition=gpu or timeout_min=600.") from error
    code = "from whichlora.cli.main import main; main()"
    return executor.submit(RunCommand([sys.executable, "-P", "-c", code, "run", str(folder.resolve()), *words]))


def _described(job: Any) -> SubmittedJob:
    return SubmittedJob(str(job.job_id), Path(job.paths.stderr))


def _setting(text: str) -> tuple[str, Any]:
    """'timeout_min=600' → ('timeout_min', 600)."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"'{text}' is no setting.", fix="Write --slurm KEY=VALUE, such as --slurm slurm_partition=gpu.")
    return name.strip(), int(value) if value.strip().lstrip("-").isdigit() else value.strip()
