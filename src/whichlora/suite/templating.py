"""Writing a new project's suite from a template: everything is spelled out, so that users see what will be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import yaml

from whichlora.errors import UnknownNameError

_HEADER = """\
# What whichlora asks of every candidate. Unknown keys are refused with their line; see docs/suite.md.
"""


def template_names() -> list[str]:
    """Names of the bundled templates."""
    folder = resources.files("whichlora.suite") / "templates"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def render_suite(
    template: str, *, name: str, base: Mapping[str, Any], subject: str, sources: Mapping[str, Any],
    candidates: Sequence[Mapping[str, Any]] = (), samplers: Mapping[str, Any] | None = None,
) -> str:
    """Text of a suite file.

    Raises:
        UnknownNameError: There is no such template.
    """
    if template not in template_names():
        raise UnknownNameError("suite template", template, template_names())
    body = (resources.files("whichlora.suite") / "templates" / f"{template}.yaml").read_text(encoding="utf-8")
    head: dict[str, Any] = {
        "schema": "whichlora.suite/1", "name": name, "base": dict(base), "subject": subject, "sources": dict(sources),
    }
    tail: dict[str, Any] = {}
    if samplers:
        tail["samplers"] = dict(samplers)
    if candidates:
        tail["candidates"] = [dict(candidate) for candidate in candidates]
    text = _HEADER + _dump(head) + "\n" + body
    if tail:
        return text + "\n# One entry a row; 'a.safetensors:0.8 + b.safetensors' stacks two.\n" + _dump(tail)
    return text + _EXAMPLE


PRESETS: Mapping[str, str] = {"character-2509": "Qwen/Qwen-Image-Edit-2509"}
"""Ready suites with named LoRAs, and the base that each is made for."""


def render_preset(
    preset: str, *, name: str, subject: str, sources: Mapping[str, Any], base: Mapping[str, Any] | None = None
) -> str:
    """Text of a suite with a preset's edits, samplers and candidates.

    Args:
        preset: Name out of `PRESETS`.
        name: Name of the project.
        subject: As in `Suite.subject`.
        sources: As in `Suite.sources`.
        base: Another place of the same base, such as a local folder.

    Raises:
        UnknownNameError: There is no such preset.
    """
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    body = (resources.files("whichlora.suite") / "presets" / f"{preset}.yaml").read_text(encoding="utf-8")
    head = {"schema": "whichlora.suite/1", "name": name, "base": dict(base or {"location": PRESETS[preset]}),
            "subject": subject, "sources": dict(sources)}
    return _HEADER + _dump(head) + "\n" + body


_EXAMPLE = """
# Candidates: put LoRA files into the folder 'loras' and name them here, or let 'whichlora survey' propose some.
# candidates:
#   - name: multiple-angles
#     loras: multiple-angles.safetensors:1.0
#     licence: apache-2.0
candidates: []
"""


def _dump(data: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(data), allow_unicode=True, sort_keys=False, width=110, default_flow_style=None)
