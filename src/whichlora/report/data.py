"""Writes what the page's script needs (pictures, prompts, scores) as `data.js`. No figure is made here.

Everything is addressed by number, never by name, so no name can shadow anything in the script. The data travels as
one JSON text inside `JSON.parse('…')`, in plain ASCII, with everything escaped that could end a script or a string.
"""

from __future__ import annotations

import json
from typing import Any

from whichlora.report.page import GATES, Page
from whichlora.report.words import clean, figure, percent, seconds, spoken
from whichlora.types import Cell, Score


def script(variable: str, value: Any) -> str:
    """A script that sets `window.<variable>` to plain data, whatever characters its texts hold."""
    return f"window.{variable} = JSON.parse('{literal(value)}');\n"


def literal(value: Any) -> str:
    """JSON that may stand between single quotes in a script, also inside an HTML page.

    Raises:
        ValueError: A number is not finite; JSON has no word for it.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    text = text.replace("\\", "\\\\").replace("'", "\\'")
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page_data(page: Page) -> dict[str, Any]:
    """Everything that the script reads, in the order in which the page shows it."""
    names = page.order
    places = {name: number for number, name in enumerate(names)}
    cases = {case.id: number for number, case in enumerate(page.plan.cases)}
    sources = {source.id: number for number, source in enumerate(page.plan.sources)}
    metrics = sorted({score.metric for scores in page.given.scores.values() for score in scores})
    numbers = {name: number for number, name in enumerate(metrics)}
    return {
        "candidates": [_candidate(page, name) for name in names],
        "cases": [{"source": sources.get(case.source, -1), "family": spoken(case.family), "key": clean(case.family),
                   "prompt": clean(case.prompt), "edit": spoken(case.edit)} for case in page.plan.cases],
        "sources": [_source(page, source.id) for source in page.plan.sources],
        "metrics": [spoken(name) for name in metrics],
        "gates": list(GATES),
        "cells": [_cell(page, cell, places, cases, numbers) for cell in page.plan.cells],
    }


def _candidate(page: Page, name: str) -> dict[str, Any]:
    row = page.facts.get(name)
    role = row.role if row else "candidate"
    tag = {"base": "no LoRA", "control": "control"}.get(role, "")
    if name in page.recommended:
        tag = "recommended" if page.findings.recommendation.firm else "leading"
    return {"name": clean(name), "role": role, "tag": tag, "rate": percent(row.ccr.value) if row else "not measured"}


def _source(page: Page, name: str) -> dict[str, Any]:
    shown = page.pictures.source(name)
    return {
        "name": clean(name), "url": shown.url, "thumb": shown.thumb, "w": shown.width_px, "h": shown.height_px,
        "fitted": [[width, height, url] for (width, height), url in sorted(shown.fitted.items())],
    }


def _cell(
    page: Page, cell: Cell, places: dict[str, int], cases: dict[str, int], metrics: dict[str, int],
) -> dict[str, Any]:
    made = page.generation(cell.id)
    shown = page.pictures.image(made.image if made else None)
    tone, said = page.verdict(cell.id)
    gates = page.gates(cell.id)
    return {
        "c": places.get(cell.candidate, -1), "k": cases.get(cell.case, -1), "seed": str(cell.seed),
        "url": shown.url, "thumb": shown.thumb, "w": shown.width_px, "h": shown.height_px,
        "tone": tone, "said": said, "why": _why_empty(page, cell, shown.url),
        "time": seconds(made.seconds.get("total")) if made else "",
        "gates": [gates[gate] for gate in GATES],
        "scores": [_score(score, metrics) for score in page.scores(cell.id)],
    }


def _why_empty(page: Page, cell: Cell, url: str) -> str:
    """Why there is no picture, in a few words."""
    made = page.generation(cell.id)
    if url:
        return ""
    if made is None:
        return "not made"
    return clean(made.error) or ("failed" if made.status == "failed" else "picture missing")


def _score(score: Score, metrics: dict[str, int]) -> list[Any]:
    """[metric, figure in words, passed, gate, reason, rater, regions]."""
    return [metrics[score.metric], figure(score.value), score.passed, score.gate or "", clean(score.reason),
            clean(score.rater), _regions(score)]


def _regions(score: Score) -> list[list[float]]:
    """Rectangles [x, y, width, height] in pixels that a metric points at."""
    stored = score.detail.get("regions")
    if not isinstance(stored, list | tuple):
        return []
    return [[float(side) for side in box] for box in stored
            if isinstance(box, list | tuple) and len(box) == 4
            and all(isinstance(side, int | float) and abs(side) < 1e6 for side in box)]
