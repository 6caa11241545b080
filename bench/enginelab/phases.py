"""The measured phases by name. Each takes a `Bench`, logs figures, and may be run alone."""

from __future__ import annotations

from enginelab.attempts import attempts
from enginelab.exact import exact
from enginelab.floors import floor
from enginelab.kernelcheck import kernel_check
from enginelab.peer import peer
from enginelab.project import project
from enginelab.rounded import cached, fp8, nf4
from enginelab.streamed import offload, streamed

PHASES = {"kernels": kernel_check, "floor": floor, "exact": exact, "streamed": streamed, "offload": offload,
          "fp8": fp8, "cached": cached, "nf4": nf4, "attempts": attempts, "peer": peer, "project": project}
