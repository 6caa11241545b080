"""The page that shows base beside the first LoRA while a run is still going, with progress and an honest end.

It works from file://: the page loads the script `live.js` anew every second, so nothing has to serve it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import quote

from whichlora.report.data import literal
from whichlora.report.files import write_text
from whichlora.report.html import MARK, POLICY
from whichlora.report.templates import ASSETS, render_file
from whichlora.report.words import clean, seconds

PAGE, STATE = "live.html", "live.js"
NEWEST = 24
"""Pairs that the page shows; older ones make room."""


class LivePair(TypedDict, total=False):
    """One case on base and on a candidate. Pictures are files; '' or absent while one is not there yet."""

    prompt: str
    source: str | Path
    base: str | Path
    candidate: str
    picture: str | Path


class LiveState(TypedDict, total=False):
    """What `update_live` shows. Everything is optional; what is absent is not shown."""

    project: str
    """Project's name."""
    stage: str
    """What is being done, in a few words."""
    planned: int
    """Pictures to be made."""
    done: int
    """Pictures made, failures included."""
    failed: int
    """Failures among them."""
    eta_s: float | None
    """Seconds left, or None while nobody can know."""
    elapsed_s: float
    """Seconds so far."""
    finished: bool
    """True when nothing more will come."""
    report: str
    """Address of the finished report, relative to the folder."""
    pairs: list[LivePair]
    """Newest last."""


def write_live_page(folder: Path) -> Path:
    """Write `live.html` and what it needs into a folder and return the page to open."""
    folder = Path(folder)
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    for name in ("live.css", "live_page.js"):
        shutil.copyfile(ASSETS / name, folder / "assets" / name)
    if not (folder / STATE).exists():
        update_live(folder, {"stage": "Starting"})
    write_text(folder / PAGE, render_file(PAGE, policy=POLICY, mark=MARK))
    return folder / PAGE


def update_live(folder: Path, state: LiveState | Mapping[str, Any]) -> None:
    """Write the state for the page, whole or not at all.

    A page that is being read can bar the file for a moment on Windows; then this update is dropped and the next one
    takes its place. A live page never stops a run.

    Args:
        folder: Folder of `write_live_page`.
        state: See `LiveState`. Pictures may be absolute paths or paths relative to the folder.
    """
    text = f"window.whichloraLive(JSON.parse('{literal(_plain(Path(folder), state))}'));\n"
    for wait in (0.0, 0.02, 0.1):
        time.sleep(wait)
        with suppress(PermissionError):
            write_text(Path(folder) / STATE, text)
            return


def _plain(folder: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    planned, done = int(state.get("planned") or 0), int(state.get("done") or 0)
    left, spent = state.get("eta_s"), state.get("elapsed_s")
    finished = bool(state.get("finished"))
    ahead = "time left not known yet" if left is None else f"about {seconds(float(left))} left"
    return {
        "project": clean(state.get("project", "")), "stage": clean(state.get("stage", "")),
        "planned": planned, "done": done, "failed": int(state.get("failed") or 0), "finished": finished,
        "left": "" if finished else ahead,
        "spent": seconds(float(spent)) if spent is not None else "",
        "report": _address(folder, state.get("report", "")),
        "pairs": list(_pairs(folder, list(state.get("pairs") or [])[-NEWEST:])),
    }


def _pairs(folder: Path, pairs: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, str]]:
    for pair in pairs:
        texts = {key: clean(pair.get(key, "")) for key in ("prompt", "candidate")}
        yield {**texts, **{key: _address(folder, pair.get(key, "")) for key in ("source", "base", "picture")}}


def _address(folder: Path, place: str | Path) -> str:
    """Address of a local file as seen from the folder; never one that leads to a network."""
    if not str(place):
        return ""
    path = Path(place)
    target = path if path.is_absolute() else folder / path
    with suppress(ValueError):  # another drive on Windows has no relative way
        way = os.path.relpath(target.absolute(), folder.absolute())
        return "./" + quote(Path(way).as_posix(), safe="/.~-_")  # './' lest 'a:b' be taken for a scheme
    return target.absolute().as_uri()
