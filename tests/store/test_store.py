"""The store keeps what it acknowledged, refuses what would lie, and never mixes rows up."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from whichlora.errors import MachineError, ProjectError
from whichlora.store import Store
from whichlora.types import Generation, Score
from whichlora.workspace import Workspace


def done(cell, image, **facts):
    return Generation(cell, "done", image, {"total": 1.5}, 1000, "", facts)


def test_rows_come_back_as_they_went_in(tmp_path):
    with Store(tmp_path, create=True) as store:
        image = store.images.put(b"png bytes")
        generation = done("c1", image, device="cpu", 镜头="ok")
        assert store.add_generation(generation)
        score = Score("c1", "identity/face", 2, None, "no face", False, "identity", "", {"boxes": [[1, 2, 3, 4]]})
        store.add_scores([score], context="k")
    with Store(tmp_path) as store:
        assert store.generations() == {"c1": generation}
        assert store.scores() == [score]
        assert store.scored(context="k") == {("c1", "identity/face", 2)}
        assert store.scored(context="other") == set()


def test_a_finished_cell_is_never_overwritten_but_a_failed_one_may_be_retried(tmp_path):
    with Store(tmp_path, create=True) as store:
        first, second = store.images.put(b"first"), store.images.put(b"second")
        failed = Generation("c1", "failed", None, {}, 0, "out of memory")
        assert store.add_generation(failed)
        assert store.finished() == set()
        assert store.add_generation(done("c1", first))
        assert not store.add_generation(done("c1", second))
        assert not store.add_generation(failed)
        assert store.generations()["c1"].image == first


def test_a_done_row_without_picture_is_impossible(tmp_path):
    with Store(tmp_path, create=True) as store, pytest.raises(sqlite3.IntegrityError):
        store.add_generation(Generation("c1", "done", None, {}, 0))


def test_nan_never_reaches_the_store(tmp_path):
    with Store(tmp_path, create=True) as store:
        with pytest.raises(ValueError, match="JSON"):
            store.add_scores([Score("c1", "m/x", 1, 0.5, detail={"ratio": float("nan")})])
        assert store.scores() == []


def test_a_batch_of_scores_is_written_whole_or_not_at_all(tmp_path):
    with Store(tmp_path, create=True) as store:
        good, bad = Score("c1", "m/x", 1, 0.5), Score("c2", "m/x", 1, 0.5, detail={"x": float("inf")})
        with pytest.raises(ValueError):
            store.add_scores([good, bad])
        assert store.scores() == []
        assert store.add_scores([good]) == 1
        assert store.add_scores([good]) == 0


def test_documents_are_numbered_and_the_newest_counts(tmp_path):
    with Store(tmp_path, create=True) as store:
        assert store.document("plan") is None
        assert store.add_document("plan", {"a": 1}) == 1
        assert store.add_document("plan", {"a": 1}) == 1
        assert store.add_document("plan", {"a": 2}) == 2
        assert store.document("plan") == {"a": 2}


def test_rotten_pictures_are_found_and_forgotten(tmp_path):
    with Store(tmp_path, create=True) as store:
        whole, rotten = store.images.put(b"whole" * 100), store.images.put(b"rotten" * 100)
        store.add_generation(done("c1", whole))
        store.add_generation(done("c2", rotten))
        store.add_scores([Score("c2", "m/x", 1, 0.5)])
        data = bytearray(store.images.path(rotten).read_bytes())
        data[7] ^= 1
        store.images.path(rotten).write_bytes(data)
        assert store.forget_rotten() == ["c2"]
        assert store.finished() == {"c1"}
        assert store.scores() == []
        assert not store.images.path(rotten).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes in the file system")
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to itself", "link elsewhere", "file above"])
def test_what_is_no_picture_is_neither_waited_for_nor_followed(tmp_path, kind):
    other = tmp_path / "elsewhere.txt"
    other.write_text("mine")
    with Store(tmp_path / "p", create=True) as store:
        image = store.images.put(b"whole" * 100)
        store.add_generation(done("c1", image))
        path = store.images.path(image)
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            (path / "kept").mkdir(parents=True)
        elif kind == "file above":
            path.parent.rmdir()
            path.parent.write_text("x")
        else:
            path.symlink_to(path.name if kind == "link to itself" else other)
        assert not store.images.intact(image)
        assert store.forget_rotten() == ["c1"]
        if kind == "file above":
            with pytest.raises(MachineError, match="could not be written"):
                store.images.put(b"whole" * 100)
            return
        assert store.images.put(b"whole" * 100) == image
        assert path.is_file()
        assert not path.is_symlink()
        assert store.images.intact(image)
    assert other.read_text() == "mine"
    # A folder may hold what somebody wants: it is moved, not emptied.
    assert len(list((tmp_path / "p" / "set-aside").glob("*/kept"))) == (kind == "folder")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a" * 63, "A" * 64, "", "x\0" * 32, "..\\.." * 10])
def test_only_a_hash_becomes_a_path(tmp_path, name):
    with Store(tmp_path, create=True) as store, pytest.raises(ProjectError):
        store.images.path(name)


def test_a_foreign_or_newer_file_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "store.sqlite").write_bytes(b"this is not a database at all, just text" * 50)
    with pytest.raises(ProjectError, match="not a store"):
        Store(tmp_path)
    (tmp_path / "newer").mkdir()
    Store(tmp_path / "newer", create=True).close()
    connection = sqlite3.connect(tmp_path / "newer" / "store.sqlite")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(ProjectError, match="newer whichlora"):
        Store(tmp_path / "newer")


def test_missing_store_is_a_user_error(tmp_path):
    with pytest.raises(ProjectError, match="no project store"):
        Store(tmp_path)


WRITER = """
import sys
from pathlib import Path
from whichlora.store import Store
from whichlora.types import Generation
with Store(Path(sys.argv[1]), create=True) as store:
    for i in range(100000):
        image = store.images.put(b"picture %d" % i * 50)
        store.add_generation(Generation(f"c{i}", "done", image, {}, 0))
        print(i, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL does not exist there")
@pytest.mark.parametrize("acknowledged", [1, 3, 7, 12])
def test_kill_loses_no_acknowledged_cell(tmp_path, acknowledged):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    last = -1
    for line in process.stdout:
        last = int(line)
        if last >= acknowledged:
            os.kill(process.pid, signal.SIGKILL)
            break
    for line in process.stdout:  # what it acknowledged before the signal arrived
        last = int(line)
    process.wait()
    with Store(tmp_path) as store:
        finished = store.finished()
        assert {f"c{i}" for i in range(last + 1)} <= finished
        assert len(finished) <= last + 2
        assert store.forget_rotten() == []


def test_only_one_owner_at_a_time(tmp_path):
    code = (
        "import sys; from pathlib import Path; from whichlora.workspace import Workspace\n"
        "from whichlora.errors import ProjectError\n"
        "try:\n"
        "    with Workspace(Path(sys.argv[1])).owned(): print('owner')\n"
        "except ProjectError as e: print('refused', e)\n"
    )
    run = lambda: subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True).stdout  # noqa: E731
    with Workspace(tmp_path).owned():
        answer = run()
        assert answer.startswith("refused")
        assert str(os.getpid()) in answer
    assert run().strip() == "owner"
