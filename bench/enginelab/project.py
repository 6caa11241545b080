"""The command line on a base of random weights: run, kill, run again, report; resident and under a cap of 24 GiB."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from enginelab.common import Bench

ROOT = Path(__file__).resolve().parents[2]
STEPS = 4
KILL_AFTER = 14
"""Cells stored when the run is killed: the 12 control rows and two pictures."""


def base_folder(bench: Bench) -> Path:
    """Configurations of the true (or toy) size with a small tokenizer beside them; no weight file."""
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    from families import tiny
    from whichlora.families._qwen.true_size import write_base

    words = tiny.tokenizer()
    ids = {f"{key}_token_id": words.convert_tokens_to_ids(token) for key, token in (
        ("image", "<|image_pad|>"), ("video", "<|video_pad|>"), ("vision_start", "<|vision_start|>"),
        ("vision_end", "<|vision_end|>"))}
    folder = write_base(bench.folder / "base-project", toy=bench.toy, token_ids=ids)
    limits = (56 * 56, 85 * 85) if bench.toy else (56 * 56, 28 * 28 * 1280)
    Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(min_pixels=limits[0], max_pixels=limits[1]), tokenizer=words,
        video_processor=Qwen2VLVideoProcessor(), chat_template="{{ messages }}",
    ).save_pretrained(folder / "processor")
    return folder


def make_project(
    bench: Bench, name: str, base: Path, *, candidates: tuple[str, ...] = ("a1", "b1", "c1"), photographs: int = 2
) -> Path:
    """Candidates × photographs × 2 prompts, few steps."""
    from whichlora.cli.init import create_project
    from whichlora.tinyworld.characters import write_demo_references
    from whichlora.workspace import SUITE_NAME

    folder = bench.folder / name
    side = 64 if bench.toy else 1024
    loras = [bench.lora(each, rank=16) for each in candidates]
    create_project(
        folder, write_demo_references(bench.folder / f"refs-{name}", photographs), [], template="figure",
        candidates=[{"name": use.name, "loras": Path(use.path).name, "licence": "mit"} for use in loras],
        samplers={"default": {"num_inference_steps": STEPS, "true_cfg_scale": 4.0,
                              "reference_area_px": side * side, "condition_area_px": (84 if bench.toy else 384) ** 2}},
        head={"name": name, "base": {"family": "qwen_image_edit", "location": str(base)}, "subject": "figure",
              "sources": {"count": photographs}},
    )
    for use in loras:
        os.link(use.path, folder / "loras" / Path(use.path).name)
    suite = yaml.safe_load((folder / SUITE_NAME).read_text(encoding="utf-8"))
    suite["edits"], suite["seeds"] = suite["edits"][:2], [1]
    suite["must_have"] = sorted({edit["family"] for edit in suite["edits"]})
    (folder / SUITE_NAME).write_text(yaml.safe_dump(suite, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return folder


def cells_done(folder: Path) -> int:
    """Finished generations in a project's store."""
    path = folder / "store.sqlite"
    if not path.is_file():
        return 0
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5) as database:
            return int(database.execute("SELECT count(*) FROM generations WHERE status = 'done'").fetchone()[0])
    except sqlite3.Error:
        return 0


def _waiting(folder: Path, name: str) -> dict[str, object]:
    """How long the device had nothing to do between pictures: measured, and at 40 steps of the same length."""
    from whichlora.run.pace import waiting_share
    from whichlora.store import Store

    with Store(folder) as store:
        told = [row.seconds for row in store.generations().values() if row.seconds.get("denoise", 0) > 0]
    longer = [{**row, "denoise": row["denoise"] * 40 / STEPS} for row in told]
    return {f"project {name}: waiting share, {STEPS} steps": waiting_share(told),
            f"project {name}: waiting share, 40 steps": waiting_share(longer)}


def project(bench: Bench) -> None:
    """The whole chain twice; on a GPU with room for both at once (its figures are then no timings)."""
    base = base_folder(bench)
    on_gpu = bench.device == "cuda"
    ways = {"resident": {} if on_gpu else {"WHICHLORA_ENGINE": "fast"},
            "capped": {"WHICHLORA_VRAM_GIB": "24"} if on_gpu else {"WHICHLORA_HOLD": "streamed"}}
    folders = {name: make_project(bench, name, base) for name in ways}
    with ThreadPoolExecutor(max_workers=len(ways) if on_gpu else 1) as pool:
        for done in [pool.submit(_chain, bench, name, folders[name], variables) for name, variables in ways.items()]:
            done.result()


def _chain(bench: Bench, name: str, folder: Path, variables: dict[str, str]) -> None:
    """Run, kill, run again, report."""
    environment = {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(
        filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-m", "whichlora.cli.main"]
    run = [*command, "run", str(folder), "--device", bench.device, "--full"]
    path = bench.logs / f"project-{name}.log"
    with path.open("w", encoding="utf-8") as log:
        started = time.perf_counter()
        first = subprocess.Popen(run, env=environment, stdout=log, stderr=log, start_new_session=True)
        while cells_done(folder) < KILL_AFTER and first.poll() is None and time.perf_counter() - started < 400:
            time.sleep(0.2)
        before = cells_done(folder)
        if first.poll() is None:
            os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        killed = time.perf_counter() - started
        second = subprocess.run(run, env=environment, stdout=log, stderr=log, check=False, timeout=500)
        report = subprocess.run([*command, "report", str(folder), "--json"], env=environment, stdout=subprocess.PIPE,
                                stderr=log, check=False, timeout=300, encoding="utf-8")
    answer = json.loads(report.stdout) if report.stdout.strip().startswith("{") else {}
    bench.log(**{
        f"project {name}: done when killed": before, f"project {name}: seconds until killed": killed,
        f"project {name}: seconds in all": time.perf_counter() - started,
        f"project {name}: exit statuses": [second.returncode, report.returncode],
        f"project {name}: cells": answer.get("cells"), f"project {name}: report": answer.get("report"),
        f"project {name}: rows": [(row["name"], row["seconds_per_image"], row["peak_memory_gib"])
                                  for row in answer.get("candidates", [])],
        **_waiting(folder, name),
        f"project {name}: end of the log": path.read_text(encoding="utf-8")[-900:],
    })
