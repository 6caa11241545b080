"""Loading the package's ONNX models: hash-checked, cached, one thread. Does not know what a model is for."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from functools import lru_cache
from importlib.resources import files
from typing import Any

from whichlora.errors import MachineError

THREADS = 1
"""Threads per session: scoring runs beside generation and must not starve it, and the models are so small that two
threads cost a sixth more processor time."""
_lock = threading.Lock()


class MissingModelError(MachineError):
    """A model that this installation does not carry."""


def model_facts() -> list[dict[str, Any]]:
    """Every model with its source, version, licence and SHA-256 (`models.json`)."""
    listing = json.loads(files("whichlora.models").joinpath("models.json").read_text(encoding="utf-8"))
    return list(listing["models"])


def model_bytes(file: str) -> bytes:
    """Contents of a model file, checked against the SHA-256 in `models.json`.

    Raises:
        MissingModelError: The file is not in this installation.
        MachineError: The file differs from what was published, so its answers could be anything.
    """
    facts = {entry["file"]: entry for entry in model_facts()}
    place = files("whichlora.models").joinpath(file)
    if file not in facts or not place.is_file():
        raise MissingModelError(
            f"The model '{file}' is not part of this installation.",
            fix="Reinstall whichlora (pip install -U whichlora).",
        )
    data = place.read_bytes()
    found, wanted = hashlib.sha256(data).hexdigest(), facts[file]["sha256"]
    if found != wanted:
        raise MachineError(
            f"The model '{file}' has SHA-256 {found[:12]}…, not {wanted[:12]}…: it was changed or damaged.",
            fix="Reinstall whichlora; nothing is scored with a tampered model.",
        )
    return data


def session(file: str) -> Any:
    """An onnxruntime session of a model, loaded once per process (processor only)."""
    with _lock:
        return _session(file, os.getpid())


@lru_cache(maxsize=16)
def _session(file: str, process: int) -> Any:
    """Keyed by process as well: a session must not be used across a fork."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads would steal time from whatever runs beside.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model_bytes(file), options, providers=["CPUExecutionProvider"])
