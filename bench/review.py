"""Measures the review: votes stored, first pictures of the matrix, and whether active choice names the best.

    python bench/review.py [--quick] [--json]

Pictures are tiny, their number is not: 10,000 cells lie in the store. `--quick` uses one session of votes and 24
simulated voters; without it 400 voters are simulated in each of three worlds.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
# This file's own folder goes: it would hide the tests' folder of the same name.
sys.path[:] = [str(ROOT / "src"), str(ROOT / "tests"), *(p for p in sys.path if Path(p).resolve() != ROOT / "bench")]

CELLS = 10_000


def build(folder: Path) -> None:
    """A project with 10,000 finished pictures (40 distinct files) and three scores each, written in one go."""
    from review import planted
    from whichlora.store import Store
    from whichlora.types import Generation

    plan = planted.make_plan(names=("base", *(f"row-{n}" for n in range(9))), photos=20, edits=25, seeds=(1, 2))
    assert len(plan.cells) == CELLS
    planted.make_project(folder, plan, upto=0)
    rng = np.random.default_rng(0)
    with Store(folder) as store:
        images = [store.images.put(planted.png(str(n), rng.integers(0, 255, 3), (512, 640))) for n in range(40)]
        store._db.execute("PRAGMA synchronous=OFF")  # only while the bench builds its project
        for number, cell in enumerate(plan.cells):
            store.add_generation(Generation(cell.id, "done", images[(number + number // 1000) % 40], {"total": 1.0}, 0))
        rows = [score for cell in plan.cells for score in planted.machine_scores(cell.id, rng.random() < 0.6, rng)]
        store.add_scores(rows, context=planted._context(plan))


class Served:
    """The review server as a user starts it, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        import os

        code = "from whichlora.cli.main import main; main()"
        words = [sys.executable, "-c", code, "review", str(folder), "--no-open", "--json"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                        env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
        assert self.process.stdout is not None
        lines: list[str] = []
        while not lines or lines[-1] != "}\n":
            lines.append(self.process.stdout.readline())
            assert lines[-1], "the server ended before it began"
        self.first = str(json.loads("".join(lines))["url"])
        self.origin = self.first.split("/#")[0]
        self._client = self._open(self.first)

    def _open(self, link: str) -> Any:
        import httpx

        client = httpx.Client(base_url=self.origin, headers={"Origin": self.origin}, timeout=60)
        client.post("/api/session", json={"token": link.split("#t=")[1]}).raise_for_status()
        return client

    def link(self) -> str:
        """A fresh link."""
        return str(self._client.post("/api/invite", json={}).json()["link"])

    def client(self) -> Any:
        """A client with a session of its own."""
        return self._open(self.link())

    def close(self) -> None:
        """Stop the server."""
        self.process.terminate()
        self.process.wait(20)


def vote_times(server: Served, votes: int) -> tuple[list[float], list[float]]:
    """Seconds until a vote is acknowledged, and until the next pair is chosen, while previews are being encoded."""
    client = server.client()
    stop = threading.Event()

    def look_around() -> None:
        other = server.client()
        column = 0
        while not stop.is_set():
            asked = f"/api/block?rows=candidate&columns=case&fixed=0&r0=0&r1=8&c0={column}&c1={column + 8}"
            for cell in other.get(asked).json()["cells"]:
                if stop.is_set():
                    return
                other.get(cell["thumb"])
            column = (column + 8) % 480

    thread = threading.Thread(target=look_around, daemon=True)
    thread.start()
    stored, chosen = [], []
    rng = np.random.default_rng(1)
    for _ in range(votes):
        began = time.perf_counter()
        task = client.get("/api/pair?rater=Ada&question=identity").json()["task"]
        chosen.append(time.perf_counter() - began)
        body = {"rater": "Ada", "task": task["id"], "answer": ("left", "right", "tie")[rng.integers(3)], "seconds": 1}
        began = time.perf_counter()
        answer = client.post("/api/vote", json=body)
        stored.append(time.perf_counter() - began)
        assert answer.json() == {"stored": True}
    stop.set()
    thread.join(20)
    return stored, chosen


def first_pictures(server: Served, rounds: int) -> list[float]:
    """Seconds from asking for the matrix page until its first pictures stand on the screen, in Chromium."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    found = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(rounds):
            page = browser.new_context(viewport={"width": 1360, "height": 850}).new_page()
            page.goto(server.link())
            page.wait_for_selector("#name", state="visible")
            began = time.perf_counter()
            page.goto(server.origin + "/viewer", wait_until="commit")
            shown = "[...document.querySelectorAll('.cell img')].filter((one) => one.naturalWidth > 0).length"
            while page.evaluate(shown) < 6:
                time.sleep(0.005)
            found.append(time.perf_counter() - began)
            page.context.close()
        browser.close()
    return found


def simulate(voters: int, photo_sd: float, tie: float, *, spread: float) -> float:
    """Share of simulated voters whose 120 votes name the best of 12; the rival is 1 logit below.

    Args:
        voters: Sessions.
        photo_sd: Spread of a candidate's strength between photographs, in logits.
        tie: Davidson's ν: 0.3 makes 13 % ties among equals, 0 none.
        spread: The other ten lie below the rival by |N(0, spread)|; 0 puts them all level with it.
    """
    from review.test_desk import wide_board
    from whichlora.review.pairing import choose_pair, fit
    from whichlora.review.votes import PairVote

    board, right = wide_board(12, photos=20), 0
    for seed in range(voters):
        rng = np.random.default_rng(seed)
        truth = np.concatenate([[1.0, 0.0], -np.abs(rng.normal(0, spread, 10)) if spread else np.zeros(10)])
        moved = truth[:, None] + rng.normal(0, photo_sd, (12, 20))
        votes: list[PairVote] = []
        for number in range(120):
            pair = choose_pair(board, votes, "identity", "Ada", rng)
            assert pair is not None
            photo = int(board.photos[board.where[pair.left][1]])
            half = (moved[board.where[pair.left][0], photo] - moved[board.where[pair.right][0], photo]) / 2
            weights = np.array([np.exp(half), np.exp(-half), tie])
            answer = ("left", "right", "tie")[rng.choice(3, p=weights / weights.sum())]
            votes.append(PairVote(f"{seed}-{number}", "Ada", "", "identity", pair.left, pair.right, answer, pair.why,
                                  pair.chance, pair.repeats))
        right += int(np.argmax(fit(board, votes).theta)) == 0
    return right / voters


def measure(*, quick: bool) -> list[dict[str, object]]:
    """All figures."""
    folder = Path(tempfile.mkdtemp(prefix="whichlora-review-")) / "p"
    try:
        build(folder)
        server = Served(folder)
        try:
            pictures = first_pictures(server, 3 if quick else 10)
            stored, chosen = vote_times(server, 200 if quick else 1000)
        finally:
            server.close()
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)
    voters = 24 if quick else 400
    best = simulate(voters, 0.0, 0.0, spread=0.7)
    figures = [
        figure("vote stored, 99th percentile (s)", float(np.percentile(stored, 99)), 0.05, low=True),
        figure("vote stored, median (s)", float(np.median(stored)), None),
        figure("next pair chosen, 99th percentile (s)", float(np.percentile(chosen, 99)), None),
        figure("first pictures of the matrix, median (s)", float(np.median(pictures)), 1.0, low=True),
        figure("first pictures of the matrix, slowest (s)", float(np.max(pictures)), None),
        figure("best of 12 named after 120 votes, gap 1 logit", best, 0.95),
    ]
    if not quick:
        varied = simulate(voters, 0.5, 0.3, spread=0.7)
        figures += [
            figure("the same with ties and strengths that vary by photograph", varied, None),
            figure("the same with all eleven rivals level", simulate(voters, 0.0, 0.0, spread=0.0), None),
        ]
    return figures


def figure(name: str, value: float, target: float | None, *, low: bool = False) -> dict[str, object]:
    """One figure of the bench; `low`: smaller is better."""
    ok = None if target is None else bool(value <= target if low else value >= target)
    return {"name": name, "value": round(value, 4), "target": target, "ok": ok}


def main() -> int:
    """Command line; exit status 1 when a figure misses its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    began = time.perf_counter()
    figures = measure(quick=asked.quick)
    run = {"machine": platform.processor() or platform.machine(), "python": platform.python_version(),
           "cells": CELLS, "quick": asked.quick, "seconds": round(time.perf_counter() - began, 1),
           "note": "votes are timed over HTTP while another client encodes previews"}
    if asked.json:
        print(json.dumps({"figures": figures, "run": run}, indent=1))
        return int(any(row["ok"] is False for row in figures))
    for row in figures:
        mark = {True: "✓", False: "✗", None: " "}[row["ok"]]  # type: ignore[index]
        print(f"{mark} {row['name']}: {row['value']}" + (f" (aim {row['target']})" if row["target"] else ""))
    print(f"  {run}")
    return int(any(row["ok"] is False for row in figures))


if __name__ == "__main__":
    raise SystemExit(main())
