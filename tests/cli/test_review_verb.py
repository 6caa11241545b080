"""`whichlora review`: votes travel between copies of a project; the server starts, says where, and asks for a token."""

import json
import os
import shutil
import signal
import subprocess
import sys

import httpx
import pytest

from review import planted
from whichlora.cli.main import main
from whichlora.plan.codec import plan_from_json
from whichlora.review.desk import Desk
from whichlora.store import Store


@pytest.fixture
def project(tmp_path):
    planted.make_project(tmp_path / "p", planted.make_plan(photos=2, edits=1, seeds=(1,)), scores=False)
    return tmp_path / "p"


def call(capsys, *words):
    with pytest.raises(SystemExit) as left:
        main(["review", *map(str, words)])
    said = capsys.readouterr()
    return left.value.code or 0, said.out, said.err


def vote(folder, count, rater="Ada"):
    with Store(folder) as store:
        desk = Desk(store, plan_from_json(store.document("plan")))
        for _ in range(count):
            desk.answer(rater, desk.pairs(rater, "identity")[0].id, "left")
        return len(desk.votes)


def test_votes_travel_to_a_copy_and_arrive_once(project, tmp_path, capsys):
    other = tmp_path / "copy"
    shutil.copytree(project, other)
    vote(project, 4)
    vote(other, 3, "Bob")
    table = tmp_path / "votes.csv"
    assert call(capsys, project, "--export", table, "--json")[0] == 0
    for expected in ({"new": 4, "known": 0}, {"new": 0, "known": 4}):
        status, out, _ = call(capsys, other, "--import", table, "--json")
        assert status == 0
        assert json.loads(out)["imported"] == expected
    with Store(other) as store:
        assert sorted(row.rater for row in store.votes()) == ["Ada"] * 4 + ["Bob"] * 3


def test_a_foreign_table_is_refused_and_nothing_is_written(project, tmp_path, capsys):
    vote(project, 2)
    table = tmp_path / "votes.csv"
    call(capsys, project, "--export", table)
    table.write_text(table.read_text(encoding="utf-8").replace("c1-", "c9-"), encoding="utf-8")
    with Store(project) as store:
        before = store.votes()
    status, _, err = call(capsys, project, "--import", table)
    assert status == 2
    assert "does not plan" in err
    assert "Traceback" not in err
    with Store(project) as store:
        assert store.votes() == before


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"", b"PK\x03\x04"])
def test_a_file_that_is_no_table_gets_one_sentence(project, tmp_path, capsys, content):
    table = tmp_path / "x.csv"
    if content is not None:
        table.write_bytes(content)
    status, _, err = call(capsys, project, "--import", table)
    assert status == 2
    assert "Traceback" not in err


def test_a_project_without_pictures_says_so(tmp_path, capsys):
    (tmp_path / "p").mkdir()
    assert call(capsys, tmp_path / "p")[0] == 2
    (tmp_path / "p" / "whichlora.yaml").write_text("x", encoding="utf-8")
    status, _, err = call(capsys, tmp_path / "p")
    assert status == 2
    assert "whichlora run" in err


@pytest.mark.skipif(os.name == "nt", reason="ends the server with a signal")
def test_the_server_starts_answers_and_ends(project):
    code = "from whichlora.cli.main import main; main()"
    words = [sys.executable, "-c", code, "review", str(project), "--no-open", "--json", "--rater", "Ada B"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            lines = []
            while not lines or lines[-1] != "}\n":
                lines.append(server.stdout.readline())
                assert lines[-1], server.stderr.read()
            said = json.loads("".join(lines))
            origin, _, fragment = said["url"].partition("/#t=")
            token = fragment.partition("&")[0]
            assert fragment.endswith("&rater=Ada%20B")
            with httpx.Client(base_url=origin, headers={"Origin": origin}) as client:
                assert client.get("/api/state").status_code == 403
                assert client.post("/api/session", json={"token": token}).status_code == 200
                assert client.get("/api/state?rater=Ada").json()["pictures"] == 8
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(20)
        assert "all votes are kept" in server.stderr.read()
