"""A small part of `bench/chaos.py`: the store survives, and mistakes planted in it are found.

A missing strace is a failure, not a skip: a test that nobody runs proves nothing.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="strace exists on Linux only")

if sys.platform == "linux":
    from chaoslab import disk, faults
    from chaoslab.faults import Lab


@pytest.fixture
def lab():
    assert shutil.which("strace"), "These tests need strace: apt-get install strace"
    memory = Path("/dev/shm")
    scratch = Path(tempfile.mkdtemp(prefix="whichlora-chaos-", dir=memory if memory.is_dir() else None))
    labs = []

    def make(**facts):
        labs.append(Lab(scratch, **facts))
        return labs[-1]

    yield make
    for each in labs:
        each.hurt.close()
        each.calm.close()
    shutil.rmtree(scratch)


def found(tally):
    return bool(tally.problems)


@pytest.mark.parametrize("mode", ["wal", "journal"])
def test_killed_before_durable_calls_nothing_is_lost_corrupt_or_doubled(lab, mode):
    tally = faults.kills(lab(count=2, mode=mode), 0, step=23)
    assert tally.problems == []
    assert tally.hurts >= 8
    assert len(tally.places) >= 3


def test_failing_calls_end_in_a_sentence_and_the_run_goes_on(lab):
    tally = faults.errors(lab(count=2), step=40)
    assert tally.problems == []
    assert tally.hurts >= 6


@pytest.mark.parametrize("mode", ["wal", "journal"])
def test_a_power_cut_takes_nothing_that_was_called_safe(lab, mode):
    tally = faults.power_cuts(lab(count=2, mode=mode), 0, step=43)
    assert tally.problems == []
    assert tally.hurts >= 12


def test_rot_is_found_and_mended(lab):
    tally = faults.rot(lab(count=4), 12)
    assert tally.problems == []


def test_a_second_writer_leaves_and_a_killed_one_is_followed(lab):
    tally = faults.races(lab(), 2)
    assert tally.problems == []


def test_pictures_that_cannot_be_opened_just_now_are_kept(lab):
    tally = faults.unreadable(lab(count=2))
    assert tally.problems == []


@pytest.mark.parametrize(("bug", "fault"), [
    ("lock-ignored", lambda lab: faults.races(lab, 1, found)),
    ("tidied-by-guess", lambda lab: faults.unreadable(lab, found)),
    ("word-before-commit", lambda lab: faults.kills(lab, 0, found, step=2)),
])
def test_a_planted_mistake_is_found(lab, bug, fault):
    assert fault(lab(count=2, bug=bug)).problems


@pytest.mark.parametrize(("bug", "mode"), [("no-file-flush", "wal"), ("journal-without-extra", "journal")])
def test_missing_flushes_are_found_where_kills_cannot_see_them(lab, bug, mode):
    assert faults.power_cuts(lab(count=1, bug=bug, mode=mode), 0, found, step=21).problems


# --------------------------------------------------------------------------- the disk that loses power


def call(name, *texts, numbers=(), words="", result=0):
    return disk.Call(name, tuple(text.encode() if isinstance(text, str) else text for text in texts), numbers, words,
                     result)


def test_the_simulated_disk_keeps_what_was_flushed_and_only_that():
    state, rng = disk.Disk("/d"), random.Random(1)
    for step in (
        call("openat", "/d/a", words="O_WRONLY|O_CREAT", result=3), call("write", b"safe", numbers=(3, 4), result=4),
        call("fsync", numbers=(3,)), call("write", b"loose", numbers=(3, 5), result=5),
    ):
        state.feed(step)
    assert state.after_cut("none", "all", rng) == {}  # its name was never flushed
    assert state.after_cut("all", "none", rng) == {"a": b"safe"}
    assert state.after_cut("all", "all", rng) == {"a": b"safeloose"}
    assert state.after_cut("all", "size", rng) == {"a": b"safe" + bytes(5)}
    for step in (call("openat", "/d", words="O_RDONLY", result=4), call("fsync", numbers=(4,)),
                 call("rename", "/d/a", "/d/b")):
        state.feed(step)
    assert state.after_cut("none", "none", rng) == {"a": b"safe"}
    assert state.after_cut("all", "none", rng) == {"b": b"safe"}


def test_a_log_of_strace_is_read(tmp_path):
    log = tmp_path / "log"
    log.write_text(
        '7 openat(AT_FDCWD, "\\x2f\\x64\\x2f\\x61", O_WRONLY|O_CREAT|O_CLOEXEC, 0666 <unfinished ...>\n'
        '8 write(3, "\\x61", 1) = -1 ENOSPC (No space left on device)\n'
        "7 <... openat resumed>) = 5\n"
        '7 pwrite64(5, "\\x61\\x62", 2, 4096) = 2\n', encoding="ascii")
    first, second = disk.read_log(log)
    assert (first.name, first.texts, first.result) == ("openat", (b"/d/a",), 5)
    assert (second.name, second.texts, second.numbers[0], second.numbers[-1]) == ("pwrite64", (b"ab",), 5, 4096)
