"""Reading a suite file: YAML with line numbers, so that every complaint names its line."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from whichlora.errors import SuiteError
from whichlora.suite.schema import BaseSpec, CandidateSpec, EditSpec, OwnPrompt, SamplerSpec, SourceSpec, Suite

_MAX_BYTES = 1_000_000


def load_suite(path: Path) -> Suite:
    """Read and check a suite file.

    Raises:
        SuiteError: The file cannot be read, is no YAML, or a setting is wrong; the message has file, line and value.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SuiteError(f"'{path}' is {path.stat().st_size:,} bytes; a suite is at most {_MAX_BYTES:,}.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"'{path}' cannot be read: {error}.", fix="A suite is a UTF-8 text file in YAML.") from error
    return parse_suite(text, str(path))


def parse_suite(text: str, origin: str = "suite") -> Suite:
    """Check the text of a suite; `origin` names it in messages.

    Raises:
        SuiteError: As `load_suite`.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SuiteError(f"{origin}{line}: this is not valid YAML ({problem}).") from error
    if not isinstance(data, dict):
        raise SuiteError(f"{origin}: a suite is a YAML mapping that begins with 'schema: whichlora.suite/1'.")
    double = _double_key(root)
    if double:
        raise SuiteError(f"{origin}, line {double[1]}: the key '{double[0]}' stands twice.", fix="Keep one of them.")
    try:
        return Suite.model_validate(data)
    except ValidationError as error:
        raise SuiteError(_first_complaint(error, root, origin)) from error


def _first_complaint(error: ValidationError, root: yaml.Node | None, origin: str) -> str:
    problems = error.errors()
    # An unknown key often explains the "missing" one beside it, so it is named first.
    first = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
    loc = tuple(first["loc"])
    where = ".".join(str(part) for part in loc)
    line = _line_of(root, loc)
    more = f" ({len(problems) - 1} more after this one)" if len(problems) > 1 else ""
    prefix = f"{origin}, line {line}" if line else origin
    if first["type"] == "extra_forbidden":
        known = _known_keys(loc[:-1])
        near = difflib.get_close_matches(str(loc[-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"{prefix}: unknown key '{where}'; {hint}{more}."
    if first["type"] == "missing":
        return f"{prefix}: the key '{where}' is missing{more}."
    message = first["msg"].removeprefix("Value error, ")
    value = first.get("input")
    shown = f" (found {value!r})" if isinstance(value, (str, int, float, bool)) and where else ""
    return f"{prefix}: {where + ': ' if where else ''}{message}{shown}{more}."


def _known_keys(parents: tuple[int | str, ...]) -> list[str]:
    """Keys that are allowed where an unknown one was found."""
    kinds: dict[str, type[BaseModel]] = {
        "base": BaseSpec, "edits": EditSpec, "candidates": CandidateSpec, "samplers": SamplerSpec,
        "sources": SourceSpec, "own_prompt": OwnPrompt,
    }
    kind: type[BaseModel] = Suite
    for part in parents:
        kind = kinds.get(str(part), kind)
    return [field.alias or name for name, field in kind.model_fields.items()]


def _line_of(node: yaml.Node | None, loc: tuple[int | str, ...]) -> int | None:
    """Line (from 1) of the deepest node on the way to `loc`."""
    line = None
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if pair is None:
                return line or node.start_mark.line + 1
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            child: yaml.Node = node.value[part]
            line, node = child.start_mark.line + 1, child
        else:
            break
    return line


def _double_key(node: Any) -> tuple[str, int] | None:
    """First key that stands twice in one mapping: YAML would silently keep the last."""
    stack, visited = [node], set[int]()
    while stack:
        current = stack.pop()
        if id(current) in visited:
            continue
        visited.add(id(current))
        if isinstance(current, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in current.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        return key.value, key.start_mark.line + 1
                    seen.add(key.value)
                stack.append(value)
        elif isinstance(current, yaml.SequenceNode):
            stack.extend(current.value)
    return None
