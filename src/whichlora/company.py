"""What a worker is told of the other workers of its machine: how many there are, and what they share.

Told by environment variables, because a family knows nothing of who runs it. Not for users.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

SHARED_NAME = "whichlora-weights"
"""Name of the file in memory that holds the weights once; for people who look at /proc, it is in no folder."""
SHARED_VARIABLE = "WHICHLORA_SHARED_WEIGHTS"
"""Its descriptor."""
WORKERS_VARIABLE = "WHICHLORA_COMPANY"
"""'N:B': N workers on this machine, and B bytes of host memory that were available before the first one started."""


def company(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Workers of this machine, this one included, and the host memory that they divide; (1, 0) for a lone one."""
    workers, _, available = environment.get(WORKERS_VARIABLE, "").partition(":")
    if workers.isdecimal() and available.isdecimal() and int(workers) > 1:
        return int(workers), int(available)
    return 1, 0
