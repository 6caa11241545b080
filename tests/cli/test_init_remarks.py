"""What `init` says of photographs: every remark once, and advice exactly once."""

import subprocess
import sys
from pathlib import Path

PORTRAITS = Path(__file__).parents[1] / "data" / "portraits"


def test_init_says_nothing_twice(tmp_path):
    said = subprocess.run([sys.executable, "-m", "whichlora.cli.main", "init", str(tmp_path / "mina"), "--refs",
                           str(PORTRAITS)], capture_output=True, text=True, check=True).stdout
    text = " ".join(said.split())
    assert text.count("Views that no photograph shows") == 1
    assert text.count("a good set of five") == 1
    assert "vice-president.jpg seems to show somebody else" in text
