"""Five ways to hurt a writer: kill it, fail its calls, cut the power, rot its files, start a second one.

Each returns a `Tally`: how often it hurt, and everything that was wrong afterwards. A tally without problems is what
the product promises.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from chaoslab import disk, verify
from chaoslab.lives import DURABLE, FAILING, Forker, Life, Strace

LIVES_PER_CHAIN = 12


@dataclass
class Tally:
    """What came of one kind of fault."""

    hurts: int = 0
    """Kills, failed calls, power cuts, damaged files or races."""
    problems: list[str] = field(default_factory=list)
    """Everything that was wrong, with where."""
    places: Counter[str] = field(default_factory=Counter)
    """Hurts by place, such as the system call."""
    seconds: float = 0.0
    """Longest wait that matters (see the fault)."""

    def add(self, where: str, problems: list[str]) -> None:
        """Note what was wrong at a place."""
        self.problems += [f"{where}: {problem}" for problem in problems]


@dataclass
class Lab:
    """Two forkers, one to be hurt and one that is left in peace, and a scratch folder."""

    scratch: Path
    """Folder for projects; memory-backed where there is one."""
    count: int = 5
    """Cells of a project."""
    bug: str = ""
    """Planted mistake."""
    mode: str = "wal"
    """'wal', or 'journal' as on network disks."""
    hurt: Forker = field(default_factory=Forker)
    """Forker under strace."""
    calm: Forker = field(default_factory=Forker)
    """Forker that is never traced."""

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.hurt.close()
        self.calm.close()

    def project(self) -> Path:
        """A new, empty project folder."""
        return Path(tempfile.mkdtemp(prefix="p", dir=self.scratch))

    def live(self, forker: Forker, folder: Path) -> Life:
        """One life of a writer in a folder."""
        return forker.live(folder, self.count, bug=self.bug, mode=self.mode)

    def finish(self, folder: Path, where: str, tally: Tally) -> Life:
        """Let an undisturbed writer finish, and compare with the only right table."""
        life = self.live(self.calm, folder)
        if life.end != "done":
            tally.add(where, [f"does not go on: {life.end}"])
        else:
            tally.add(where, verify.problems_at_the_end(folder, self.count))
        return life

    def calls(self) -> dict[str, int]:
        """How often an undisturbed life makes each call, from an empty folder."""
        return Counter(call.name for call in self.record())

    def record(self, folder: Path | None = None) -> list[disk.Call]:
        """Calls of an undisturbed life; in a new folder unless one is given."""
        own = folder or self.project()
        log = self.scratch / "calls.log"
        with Strace(self.hurt.pid, log=log):
            life = self.live(self.hurt, own)
        if life.end != "done":
            raise SystemExit(f"The writer fails undisturbed: {life.end}")
        if folder is None:
            shutil.rmtree(own)
        return list(disk.read_log(log))


# --------------------------------------------------------------------------- kills


def kills(lab: Lab, wanted: int, stop: Callable[[Tally], bool] = lambda _: False, *, step: int = 1) -> Tally:
    """SIGKILL before every durable call of every life, in chains of lives until the project is complete.

    Args:
        lab: The lab.
        wanted: Least number of kills; every (call, number) is visited at least once.
        stop: Ends early, for planted bugs.
        step: Visit only every so many-th place.
    """
    tally = Tally()
    points = [(name, number) for name, most in sorted(lab.calls().items()) if name in DURABLE
              for number in range(1, most + 1)]
    random.Random(7).shuffle(points)
    points = points[::step]
    first = True
    while (first or tally.hurts < wanted) and not stop(tally):
        for name, number in points:
            with Strace(lab.hurt.pid, [f"{name}:signal=KILL:when={number}"]):
                chain, ended = _lives(lab, tally, f"{name} {number}")
            _end_of_chain(lab, chain, ended, tally, f"{name} {number}")
            if stop(tally) or (not first and tally.hurts >= wanted):
                break
        first = False
    return tally


def _lives(lab: Lab, tally: Tally, where: str) -> tuple[tuple[Path, list[str], int], bool]:
    """Lives in one folder, each killed at the same call, until one completes or there were enough."""
    folder, said, killed = lab.project(), [], 0
    for _ in range(LIVES_PER_CHAIN):
        life = lab.live(lab.hurt, folder)
        said += life.said
        if life.end.startswith("killed"):
            killed += 1
            tally.hurts += 1
            tally.places[where.split()[0]] += 1
            tally.add(where, verify.problems_after(folder, said, lab.count))
        else:
            if life.end != "done":
                tally.add(where, [life.end])
            return (folder, said, killed), life.end == "done"
    return (folder, said, killed), False


def _end_of_chain(lab: Lab, chain: tuple[Path, list[str], int], ended: bool, tally: Tally, where: str) -> None:
    folder, said, killed = chain
    if ended:
        tally.add(where, verify.problems_at_the_end(folder, lab.count))
    else:
        said += lab.finish(folder, where, tally).said
    tally.add(where, repeated(said, lab.count, killed))
    shutil.rmtree(folder)


def repeated(said: list[str], count: int, killed: int) -> list[str]:
    """More work done twice than one cell a kill, a cell called safe twice, or damage that the scrub had to mend."""
    made = Counter(words for words in said if words.startswith("making "))
    again = sum(made.values()) - count
    found = [f"repeated: {again} cells after {killed} kills"] if again > killed else []
    twice = [words for words, times in Counter(said).items() if words.startswith("cell ") and times > 1]
    found += [f"repeated: {words} was safe and made again" for words in twice]
    return found + (["corrupt: the scrub found damage"] if "forgot" in said else [])


# --------------------------------------------------------------------------- failing calls


def errors(lab: Lab, stop: Callable[[Tally], bool] = lambda _: False, *, step: int = 1) -> Tally:
    """ENOSPC, EIO and EMFILE at every write-side call, once and for good; then the run goes on.

    Args:
        lab: The lab.
        stop: Ends early, for planted bugs.
        step: Visit only every so many-th place.
    """
    tally = Tally()
    points = [(name, number, code, lasting) for name, most in sorted(lab.calls().items()) if name in FAILING
              for number in range(1, most + 1) for code in _codes(name) for lasting in ("", "+")]
    random.Random(11).shuffle(points)
    for name, number, code, lasting in points[::step]:
        if stop(tally):
            break
        where = f"{name} {number}{lasting} {code}"
        folder = lab.project()
        with Strace(lab.hurt.pid, [f"{name}:error={code}:when={number}{lasting}"]):
            life = lab.live(lab.hurt, folder)
        tally.hurts += 1
        tally.places[code] += 1
        if life.end.startswith(("crash", "killed")):
            tally.add(where, [f"no sentence: {life.end}"])
        tally.add(where, verify.problems_after(folder, life.said, lab.count))
        said = [*life.said, *lab.finish(folder, where, tally).said]
        tally.add(where, repeated(said, lab.count, 1))
        shutil.rmtree(folder)
    return tally


def _codes(name: str) -> tuple[str, ...]:
    return ("EMFILE", "ENOSPC", "EIO") if name == "openat" else ("ENOSPC", "EIO")


# --------------------------------------------------------------------------- power cuts


CUTS = (("none", "none"), ("all", "none"), ("none", "all"), ("all", "size"), ("all", "some"), ("some", "some"),
        ("first", "first"), ("some", "none"))
"""Which names and which bytes survive that were not flushed; see `disk.Disk.after_cut`."""


def power_cuts(lab: Lab, wanted: int, stop: Callable[[Tally], bool] = lambda _: False, *, step: int = 1) -> Tally:
    """Cut the power after every call that changes the disk, in every way of `CUTS`, then go on and compare.

    Args:
        lab: The lab.
        wanted: Least number of cuts; every call is visited in every way at least once.
        stop: Ends early, for planted bugs.
        step: Take only every so many-th cut.
    """
    tally = Tally()
    rng = random.Random(3)
    folder = lab.project()
    calls = lab.record(folder)
    shutil.rmtree(folder)
    rounds = 0
    while (rounds == 0 or tally.hurts < wanted) and not stop(tally):
        for where, said, tree in islice(_cut_trees(calls, folder, rng, rounds), 0, None, step):
            _after_power(lab, tree, said, tally, where)
            if stop(tally) or (rounds and tally.hurts >= wanted):
                break
        rounds += 1
    return tally


def _cut_trees(
    calls: list[disk.Call], folder: Path, rng: random.Random, rounds: int
) -> Iterator[tuple[str, list[str], dict[str, bytes | None]]]:
    """Every state in which a power cut may leave the recorded life; later rounds draw only the random ways anew."""
    state = disk.Disk(str(folder))
    ways = CUTS if rounds == 0 else [way for way in CUTS if set(way) & {"some", "first"}]
    for index, call in enumerate(calls):
        before = len(state.said)
        changed = state.feed(call)
        # The moment after a word is the one at which nothing may be missing any more.
        if changed or len(state.said) > before:
            for names, data in ways:
                yield f"call {index} {call.name}, names {names}, bytes {data}", list(state.said), state.after_cut(
                    names, data, rng)


def _after_power(lab: Lab, tree: dict[str, bytes | None], said: list[str], tally: Tally, where: str) -> None:
    folder = lab.project()
    for name, content in tree.items():
        path = folder / name
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)
    tally.hurts += 1
    tally.places[where.split()[2].rstrip(",")] += 1
    tally.add(where, verify.problems_after(folder, said, lab.count))
    said = [*said, *lab.finish(folder, where, tally).said]
    tally.add(where, repeated(said, lab.count, 1))
    shutil.rmtree(folder)


# --------------------------------------------------------------------------- rot


def rot(lab: Lab, flips: int, stop: Callable[[Tally], bool] = lambda _: False) -> Tally:
    """Flip a bit, cut, empty or remove stored pictures; the next run must notice each and make it again."""
    tally = Tally()
    rng = random.Random(5)
    folder = lab.project()
    lab.finish(folder, "whole", tally)
    while tally.hurts < flips and not stop(tally):
        paths = sorted((folder / "images").rglob("*.png"))
        chosen = rng.sample(paths, rng.randint(1, min(4, len(paths))))
        for path in chosen:
            kind = _damage(path, rng)
            tally.places[kind] += 1
            tally.hurts += 1
        (folder / "images" / paths[0].parent.name / f".{paths[0].name}.dead.part").write_bytes(b"half")
        life = lab.finish(folder, f"rot {tally.hurts}", tally)
        forgot = sum(words == "forgot" for words in life.said)
        if forgot != len(chosen):
            tally.add(f"rot {tally.hurts}", [f"{forgot} of {len(chosen)} damaged pictures were found"])
    shutil.rmtree(folder)
    return tally


def _damage(path: Path, rng: random.Random) -> str:
    data = bytearray(path.read_bytes())
    kind = rng.choice(["bit", "bit", "bit", "cut", "empty", "gone"])
    if kind == "bit":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[rng.randrange(1, len(data)) :]
    elif kind == "empty":
        data.clear()
    path.write_bytes(data)
    if kind == "gone":
        path.unlink()
    return kind


# --------------------------------------------------------------------------- races


def races(lab: Lab, rounds: int, stop: Callable[[Tally], bool] = lambda _: False) -> Tally:
    """A second writer while a first holds the project; then the first is killed, and the second goes on."""
    tally = Tally()
    for number in range(rounds):
        if stop(tally):
            break
        folder = lab.project()
        where = f"race {number}"
        lab.hurt.begin(folder, lab.count, bug=lab.bug, mode=lab.mode, hold=True)
        lab.hurt.wait_for("owner")
        started = time.monotonic()
        loser = lab.live(lab.calm, folder)
        tally.seconds = max(tally.seconds, time.monotonic() - started)
        tally.hurts += 1
        if not loser.end.startswith("sentence: Another whichlora") or loser.said:
            tally.add(where, [f"two writers at once ({loser.end})"])
        if number % 2:
            _kill_children(lab.hurt.pid)
        else:
            lab.hurt.let_go()
        first = lab.hurt.finish()
        if number % 2 == 0 and first.end != "done":
            tally.add(where, [f"the owner failed: {first.end}"])
        lab.finish(folder, where, tally)
        shutil.rmtree(folder)
    return tally


def _kill_children(pid: int) -> None:
    import os
    import signal

    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        os.kill(int(child), signal.SIGKILL)


def unreadable(lab: Lab, stop: Callable[[Tally], bool] = lambda _: False) -> Tally:
    """Pictures that cannot be opened for a moment (too many open files) are not thrown away."""
    tally = Tally()
    folder = lab.project()
    lab.finish(folder, "whole", tally)
    pictures = sorted((folder / "images").rglob("*.png"))
    for path in pictures:
        if stop(tally):
            break
        with Strace(lab.hurt.pid, ["openat:error=EMFILE"], paths=[path]):
            life = lab.live(lab.hurt, folder)
        tally.hurts += 1
        if not path.exists() or "forgot" in life.said:
            tally.add(path.name, ["lost: a good picture was thrown away"])
        elif not life.end.startswith("sentence"):
            tally.add(path.name, [f"no sentence: {life.end}"])
        lab.finish(folder, path.name, tally)
    shutil.rmtree(folder)
    return tally
