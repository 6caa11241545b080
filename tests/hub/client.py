"""Point the real huggingface_hub client at the test server: by environment for a process, by patching for this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hub.server import Hub

SOURCE = Path(__file__).parents[2] / "src"


def environment(hub: Hub | str, home: Path, **extra: str) -> dict[str, str]:
    """Environment of a process whose Hub is the test server and whose home is empty."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "COMFYUI", "WHICHLORA"))}
    url = hub if isinstance(hub, str) else hub.url
    return {
        **kept, "HF_ENDPOINT": url, "HF_HOME": str(home / "hf"), "HOME": str(home), "USERPROFILE": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONPATH": str(SOURCE),
        "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "COLUMNS": "100", "PYTHONIOENCODING": "utf-8", **extra,
    }


def whichlora(arguments: list[str], env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "whichlora.cli.main", *arguments], env=env, cwd=cwd, capture_output=True,
        encoding="utf-8", timeout=120, check=False,
    )


def answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON document on stdout."""
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def use(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the client of this process at the test server."""
    import huggingface_hub.file_download as download
    from huggingface_hub import constants

    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    if hasattr(download, "HUGGINGFACE_CO_URL_TEMPLATE"):
        monkeypatch.setattr(download, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hf" / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "hf" / "token"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("COMFYUI_PATH", "COMFYUI_HOME"):
        monkeypatch.delenv(name, raising=False)
