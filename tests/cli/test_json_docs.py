"""docs/json.md lists every document that a verb prints."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCHEMA = re.compile(r'"whichlora\.([a-z-]+)/\d+"')


def test_every_document_is_described():
    printed = set()
    for path in (ROOT / "src" / "whichlora" / "cli").glob("*.py"):
        printed |= set(SCHEMA.findall(path.read_text(encoding="utf-8")))
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    listed = {verb.strip().split(" ")[0] for row in rows for verb in row[1].split(",")}
    listed |= set(re.findall(r"schema `whichlora\.([a-z-]+)/\d+`", text))
    assert len(printed) > 15
    assert printed <= listed
