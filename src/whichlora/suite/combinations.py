"""Rows that were proposed from measured results, kept beside the suite: the user's own file is never rewritten.

`combinations.yaml` holds candidates in the suite's own words. It may be edited, moved into the suite, or deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from whichlora.errors import SuiteError
from whichlora.suite.schema import CandidateSpec, Suite

SCHEMA = "whichlora.combinations/1"
_MAX_BYTES = 1_000_000
_HEADER = """\
# Written by 'whichlora combine': combinations proposed from what single LoRAs were measured to do.
# Edit it, move rows into whichlora.yaml, or delete it; pictures that were made stay.
"""


def load_combinations(path: Path) -> list[CandidateSpec]:
    """The proposed rows; none when there is no file.

    Raises:
        SuiteError: The file says something else than candidates.
    """
    if not path.is_file():
        return []
    if path.stat().st_size > _MAX_BYTES:
        raise SuiteError(f"'{path}' is larger than {_MAX_BYTES:,} bytes.", fix="Delete it and combine again.")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise SuiteError(f"'{path}' cannot be read: {str(error).splitlines()[0]}.",
                         fix="Delete it and run again: whichlora combine PROJECT") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("candidates"), list):
        raise SuiteError(f"'{path}' does not begin with 'schema: {SCHEMA}' and a list of candidates.",
                         fix="Delete it and run again: whichlora combine PROJECT")
    try:
        return [CandidateSpec.model_validate(entry) for entry in data["candidates"]]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SuiteError(f"{path}: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}.",
                         fix="Correct it, or delete the file and run again: whichlora combine PROJECT") from error


def save_combinations(path: Path, rows: Sequence[CandidateSpec]) -> None:
    """Write the rows, whole or not at all; without rows the file is removed."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "candidates": [row.model_dump(exclude_defaults=True, exclude_none=True) for row in rows],
    }
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(_HEADER + yaml.safe_dump(body, allow_unicode=True, sort_keys=False, width=110), encoding="utf-8")
    draft.replace(path)


def with_combinations(suite: Suite, path: Path) -> Suite:
    """The suite with the proposed rows after its own; a row whose name the suite has by now counts as moved there.

    Raises:
        SuiteError: The file is wrong, or names a sampler that the suite lacks.
    """
    taken = {row.name.casefold() for row in suite.candidates}
    rows = [row for row in load_combinations(path) if row.name.casefold() not in taken]
    if not rows:
        return suite
    unknown = next((row for row in rows if row.sampler is not None and row.sampler not in suite.samplers), None)
    if unknown is not None:
        raise SuiteError(f"{path}: '{unknown.name}' names a sampler '{unknown.sampler}', which the suite lacks.",
                         fix="Delete the file and run again: whichlora combine PROJECT")
    return suite.model_copy(update={"candidates": [*suite.candidates, *rows]})
