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


def test_a_stranger_is_not_counted_among_those_that_are_edited(tmp_path):
    """Three of the four portraits can be used, and the suite asks for three."""
    from whichlora.suite.loading import load_suite

    subprocess.run([sys.executable, "-m", "whichlora.cli.main", "init", str(tmp_path / "mina"), "--refs",
                    str(PORTRAITS)], capture_output=True, check=True)
    assert load_suite(tmp_path / "mina" / "whichlora.yaml").sources.count == 3
