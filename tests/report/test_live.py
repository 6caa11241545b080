"""The live page's state is whole, harmless and honest."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from report.hostile import PAYLOADS
from whichlora.report.data import literal
from whichlora.report.live import NEWEST, update_live, write_live_page


def state_of(folder):
    text = (folder / "live.js").read_text(encoding="utf-8")
    inside = re.fullmatch(r"window\.whichloraLive\(JSON\.parse\('(.*)'\)\);\n", text, re.DOTALL)[1]
    # what a script engine makes of the quoted text: only these escapes occur
    plain = re.sub(
        r"\\(u[0-9a-f]{4}|.)", lambda m: chr(int(m[1][1:], 16)) if m[1][0] == "u" and len(m[1]) == 5 else m[1], inside
    )
    return json.loads(plain)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_texts_survive_and_end_no_script(payload):
    written = literal({"text": payload})
    assert written.isascii()
    assert not re.search(r"[<>&\n\r]", written)
    assert not re.search(r"(?<!\\)(?:\\\\)*'", written)


def test_a_page_and_its_state(tmp_path):
    page = write_live_page(tmp_path / "live here")
    assert page.name == "live.html"
    update_live(page.parent, {"project": "p", "planned": 10, "done": 3, "eta_s": 125, "elapsed_s": 40})
    state = state_of(page.parent)
    assert (state["planned"], state["done"], state["left"], state["spent"]) == (10, 3, "about 2 min left", "40 s")


def test_an_unknown_end_is_called_so(tmp_path):
    write_live_page(tmp_path)
    update_live(tmp_path, {"planned": 10, "eta_s": None})
    assert state_of(tmp_path)["left"] == "time left not known yet"


def test_a_second_page_keeps_the_state(tmp_path):
    write_live_page(tmp_path)
    update_live(tmp_path, {"done": 5})
    write_live_page(tmp_path)
    assert state_of(tmp_path)["done"] == 5


def test_pictures_become_relative_addresses(tmp_path):
    folder = tmp_path / "project" / "live"
    write_live_page(folder)
    picture = tmp_path / "project" / "store" / "100% a#b?c.png"
    update_live(folder, {"pairs": [{"base": picture, "picture": "javascript:window.hit=1", "source": ""}]})
    pair = state_of(folder)["pairs"][0]
    assert pair["base"] == "./../store/100%25%20a%23b%3Fc.png"
    assert pair["picture"].startswith("./javascript%3A")
    assert pair["source"] == ""


def test_only_the_newest_pairs_are_kept(tmp_path):
    write_live_page(tmp_path)
    update_live(tmp_path, {"pairs": [{"prompt": str(n)} for n in range(100)]})
    assert [pair["prompt"] for pair in state_of(tmp_path)["pairs"]] == [str(n) for n in range(100 - NEWEST, 100)]


def test_a_reader_never_sees_half_a_state(tmp_path):
    """One process writes as fast as it can while this one reads."""
    write_live_page(tmp_path)
    update_live(tmp_path, {"done": 0, "stage": "x" * 9999})
    writer = (
        "import sys; from pathlib import Path; from whichlora.report.live import update_live\n"
        "for n in range(100): update_live(Path(sys.argv[1]), {'done': n, 'stage': 'x' * 9999})"
    )
    with subprocess.Popen([sys.executable, "-c", writer, str(tmp_path)]) as process:
        seen = set()
        while process.poll() is None:
            seen.add(state_of(tmp_path)["done"])
    assert process.returncode == 0
    assert state_of(tmp_path)["done"] == 99
    assert not list(tmp_path.glob("*.part"))


def test_a_file_that_is_barred_stops_no_run(tmp_path, monkeypatch):
    write_live_page(tmp_path)

    def barred(self, target):
        raise PermissionError("in use")

    monkeypatch.setattr(Path, "replace", barred)
    update_live(tmp_path, {"done": 5})
    assert state_of(tmp_path)["done"] == 0
