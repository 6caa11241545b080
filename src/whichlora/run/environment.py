"""What else decides a picture's bits besides its cell id: the device, its driver, how torch computes on a CPU."""

from __future__ import annotations

import platform
import sys
from typing import Any


def environment() -> dict[str, str]:
    """Facts of this process's device; torch is asked only when the family has loaded it."""
    facts = {"system": platform.system(), "architecture": platform.machine()}
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return {"device": f"CPU ({platform.machine()})", **facts}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        driver = getattr(torch._C, "_cuda_getDriverVersion", lambda: "?")()
        return {
            "device": str(torch.cuda.get_device_name()), **facts, "cuda": str(torch.version.cuda or torch.version.hip),
            "driver": str(driver), "cudnn": str(torch.backends.cudnn.version()),
            # cuBLAS chooses by their number, which a partition lowers; noise is drawn on the processor.
            "multiprocessors": str(torch.cuda.get_device_properties(torch.cuda.current_device()).multi_processor_count),
            "processor": str(getattr(torch.backends.cpu, "get_cpu_capability", lambda: "?")()),
        }
    if torch.backends.mps.is_available():
        return {"device": "Apple GPU", **facts, "macos": platform.mac_ver()[0]}
    capability = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "?")()
    return {
        "device": f"CPU ({platform.machine()}, {capability})", **facts, "threads": str(torch.get_num_threads()),
    }
