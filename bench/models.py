"""The packaged models: list them, check them, and record one that was trained anew.

`python bench/models.py` prints every file, its hash and where it is from, and exits with 1 when one differs;
`python bench/models.py --update figure_reader.onnx` records that file's new hash.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "src" / "whichlora" / "models"


def main() -> int:
    """Check or update `models.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="accepted like every bench script's; nothing is long here")
    parser.add_argument("--update", metavar="FILE", help="record the present hash and size of FILE")
    wanted = parser.parse_args().update
    listing = json.loads((FOLDER / "models.json").read_text(encoding="utf-8"))
    wrong = 0
    for entry in listing["models"]:
        path = FOLDER / entry["file"]
        data = path.read_bytes() if path.is_file() else b""
        found = hashlib.sha256(data).hexdigest()
        if entry["file"] == wanted and data:
            entry.update(sha256=found, size_bytes=len(data))
        right = found == entry["sha256"]
        wrong += not right
        origin = f"{entry['source']} {entry['source_version']}"
        print(f"{'ok ' if right else 'BAD'} {entry['file']:<34} {found[:16]}  {origin}")
    if wanted:
        text = json.dumps(listing, indent=1) + "\n"
        (FOLDER / "models.json").write_text(text, encoding="utf-8")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
