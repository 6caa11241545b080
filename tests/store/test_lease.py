"""One owner a project: real processes on one machine, and two machines that share a disk without working locks."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from whichlora import lease
from whichlora.errors import ProjectError
from whichlora.lease import Lease, kind_of_disk, owned
from whichlora.store import Store
from whichlora.types import Generation

HOLDER = """
import sys, time, socket
from pathlib import Path
from whichlora import lease
from whichlora.errors import ProjectError
folder, machine, locks = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
if locks == "none":  # a network disk whose locks do nothing
    lease.on_network_disk = lambda _: True
    lease._try_lock = lambda _: True
if machine:
    real = lease._here
    lease._here = lambda *, started: {**real(started=started), "host": machine, "boot": machine}
try:
    with lease.owned(folder):
        print("owner", flush=True)
        sys.stdin.readline()
    print("gone", flush=True)
except ProjectError as error:
    print("refused:", error.message, flush=True)
"""


class Other:
    """Another process, perhaps on another machine."""

    def __init__(self, folder, machine="", locks="work"):
        self.process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder), machine, locks],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self):
        return self.process.stdout.readline().strip()

    def leave(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.says()

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def others():
    made = []

    def start(*arguments):
        made.append(Other(*arguments))
        return made[-1]

    yield start
    for other in made:
        other.process.kill()
        other.process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("locks", ["work", "none"])
def test_the_second_leaves_with_a_sentence_and_a_killed_owner_is_followed_at_once(tmp_path, others, locks):
    first = others(tmp_path, "", locks)
    assert first.says() == "owner"
    said = others(tmp_path, "", locks).says()
    assert said.startswith(f"refused: Another whichlora works in '{tmp_path}' (process {first.process.pid}")
    first.kill()
    third = others(tmp_path, "", locks)
    assert third.says() == "owner"
    assert third.leave() == "gone"
    assert others(tmp_path, "", locks).says() == "owner"


def test_on_a_shared_disk_the_other_machine_waits_until_the_lease_is_stale(tmp_path, others):
    first = others(tmp_path, "machine-a", "none")
    assert first.says() == "owner"
    said = others(tmp_path, "machine-b", "none").says()
    assert "refused" in said
    assert "machine-a" in said
    first.kill()
    # Machine B cannot know that A died: only silence tells, and a minute of it has not passed.
    assert "refused" in others(tmp_path, "machine-b", "none").says()
    before = time.time() - lease.STALE_AFTER_S - 5
    os.utime(tmp_path / lease.LEASE_NAME, (before, before))
    assert others(tmp_path, "machine-b", "none").says() == "owner"


def test_clocks_of_machines_are_not_compared(tmp_path, others):
    """The lease's age is told by the disk: a machine whose clock is an hour ahead takes nothing over."""
    first = others(tmp_path, "machine-a", "none")
    assert first.says() == "owner"
    code = HOLDER.replace("import sys, time, socket", "import sys, time; real_time = time.time\n"
                          "time.time = lambda: real_time() + 3600")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), "machine-b", "none"], input="\n", text=True,
                          capture_output=True)
    assert done.stdout.startswith("refused")


def test_who_was_thought_dead_writes_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "on_network_disk", lambda _: True)
    with owned(tmp_path) as mine, Store(tmp_path, create=True, guard=mine.check) as store:
        assert mine.shared
        image = store.images.put(b"one")
        (tmp_path / lease.LEASE_NAME).write_text(json.dumps({"token": "another's"}), encoding="utf-8")
        mine.beat()
        for write in (lambda: store.images.put(b"two"), lambda: store.add_document("x", {}),
                      lambda: store.add_generation(Generation("c1", "done", image, {}, 0))):
            with pytest.raises(ProjectError, match="took over"):
                write()
        assert store.finished() == set()
    # The other's lease is not ours to remove.
    assert json.loads((tmp_path / lease.LEASE_NAME).read_text(encoding="utf-8")) == {"token": "another's"}


def test_a_beat_keeps_the_lease_young(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "on_network_disk", lambda _: True)
    with owned(tmp_path) as mine:
        os.utime(tmp_path / lease.LEASE_NAME, (1, 1))
        mine.beat()
        assert (tmp_path / lease.LEASE_NAME).stat().st_mtime > 1e9
        mine.check()


@pytest.mark.parametrize("junk", ["", "{", "[]", "7", '"x"', '{"pid": "?"}', "\0" * 50])
def test_junk_in_the_lease_file_is_no_owner(tmp_path, monkeypatch, junk):
    (tmp_path / lease.LEASE_NAME).write_text(junk, encoding="utf-8")
    with owned(tmp_path):
        pass
    monkeypatch.setattr(lease, "on_network_disk", lambda _: True)
    (tmp_path / lease.LEASE_NAME).write_text(junk, encoding="utf-8")
    before = time.time() - lease.STALE_AFTER_S - 5
    os.utime(tmp_path / lease.LEASE_NAME, (before, before))
    with owned(tmp_path) as mine:
        assert isinstance(mine, Lease)


def test_many_at_once_have_one_winner(tmp_path):
    """Without locks, twenty threads of pretended machines find a stale lease: one takes it."""
    code = textwrap.dedent("""
        import sys, threading
        from pathlib import Path
        from whichlora import lease
        from whichlora.errors import ProjectError
        lease.on_network_disk = lambda _: True
        lease._try_lock = lambda _: True
        here = threading.local()
        lease._here = lambda *, started: {"pid": 1, "host": here.name, "boot": here.name, "started": 0}
        folder, start, over, owners = Path(sys.argv[1]), threading.Barrier(20), threading.Barrier(20), []
        def machine(number):
            here.name = f"machine-{number}"
            start.wait()
            try:
                with lease.owned(folder):
                    owners.append(number)
                    over.wait()
            except ProjectError:
                over.wait()
        threads = [threading.Thread(target=machine, args=(n,)) for n in range(20)]
        [t.start() for t in threads]; [t.join() for t in threads]
        print(len(owners))
    """)
    for _ in range(3):
        stale = tmp_path / lease.LEASE_NAME
        stale.write_text(json.dumps({"token": "old", "host": "gone", "boot": "gone"}), encoding="utf-8")
        os.utime(stale, (1, 1))
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() == "1", done.stderr


def test_who_judged_late_removes_nobody_elses_lease(tmp_path, monkeypatch):
    """One finds a stale lease and sleeps; another takes the folder over. Removing its lease would let in a third."""
    monkeypatch.setattr(lease, "on_network_disk", lambda _: True)
    monkeypatch.setattr(lease, "_try_lock", lambda _: True)
    path = tmp_path / lease.LEASE_NAME
    path.write_text(json.dumps({"token": "old", "host": "gone", "boot": "gone"}), encoding="utf-8")
    os.utime(path, (1, 1))
    judged, go, told, removed = threading.Event(), threading.Event(), [], []
    alive = lease._alive

    def slowly(holder, *rest):
        answer = alive(holder, *rest)
        if threading.current_thread().name == "late" and holder.get("token") == "old":
            judged.set()
            go.wait(30)
        return answer

    def late():
        try:
            with owned(tmp_path):
                told.append("owner")
        except ProjectError:
            told.append("refused")

    monkeypatch.setattr(lease, "_alive", slowly)
    sleeper = threading.Thread(target=late, name="late")
    sleeper.start()
    assert judged.wait(30)
    with owned(tmp_path) as mine:
        for name in ("unlink", "rename", "replace"):
            real = getattr(Path, name)
            monkeypatch.setattr(Path, name, lambda self, *rest, real=real, **words: (
                removed.append(lease._read(self)) if self == path else None, real(self, *rest, **words))[1])
        go.set()
        sleeper.join(30)
        assert told == ["refused"]
        assert removed == []
        mine.beat()
        mine.check()


def test_a_turn_whose_taker_died_is_over_after_a_minute(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "on_network_disk", lambda _: True)
    path = tmp_path / lease.LEASE_NAME
    content = json.dumps({"token": "old", "host": "gone", "boot": "gone"}).encode()
    turn = path.with_name(f"{path.name}.{hashlib.sha256(content).hexdigest()[:16]}.turn")
    for file in (path, turn):
        file.write_bytes(content)
    os.utime(path, (1, 1))
    monkeypatch.setattr(lease, "_TURN_S", 0.0)
    with pytest.raises(ProjectError), owned(tmp_path):
        pass
    os.utime(turn, (1, 1))
    with owned(tmp_path):
        assert not turn.exists()
    assert [file.name for file in tmp_path.iterdir()] == [lease.LOCK_NAME]


@pytest.mark.parametrize(("path", "kind"), [
    ("/data/project", "nfs4"), ("/data", "nfs4"), ("/database", "ext4"), ("/home/x", "ext4"), ("/data/local/x", "xfs"),
])
def test_the_deepest_mount_counts(path, kind):
    assert kind_of_disk(path, [("/", "ext4"), ("/data", "nfs4"), ("/data/local", "xfs")]) == kind
