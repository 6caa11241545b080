"""A made-up project for the report: drawn pictures, a plan, generations, scores and findings.

The figures are drawn, the rates follow from planted chances, and the intervals are plausible widths, not estimates:
these tests ask how a report shows figures, not whether they are right.
"""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from whichlora.findings import CandidateFacts, CapabilityFact, Estimate, Findings, Option, Recommendation
from whichlora.report.model import ReportInput
from whichlora.types import (
    AdapterUse,
    BaseModel,
    Candidate,
    EditCase,
    Generation,
    Plan,
    Score,
    SourceImage,
    cell_id,
)
from whichlora.types import Cell as PlannedCell

FAMILIES = ("camera", "lighting", "background", "expression")
PROMPTS = {
    "camera": "将镜头向左旋转45度 Rotate the camera 45 degrees to the left.",
    "lighting": "Relight the scene as a warm sunset from the right.",
    "background": "Place the figure in a forest; keep everything else as it is.",
    "expression": "Make her smile.",
}


@dataclass(frozen=True)
class Row:
    """A planted candidate: chances per family of doing the edit and of keeping the person."""

    name: str
    edit: tuple[float, float, float, float]
    keep: float
    role: str = "candidate"
    seconds: float = 4.1
    licence: str = "apache-2.0"
    mesh: float = 0.0


ROWS = (
    Row("base", (0.3, 0.75, 0.9, 0.6), 0.8, "base"),
    Row("Multi-Angles v2 @0.9 + Relight-Sunset-Deluxe @0.6", (0.95, 0.92, 0.93, 0.7), 0.95, seconds=4.6),
    Row("multi-angles-v2", (0.95, 0.7, 0.9, 0.55), 0.93, seconds=4.3),
    Row("Relight 光影大师", (0.35, 0.97, 0.9, 0.6), 0.86, licence="unknown", seconds=4.4),
    Row("angles-overtrained", (0.97, 0.6, 0.7, 0.5), 0.35, licence="cc-by-nc-4.0"),
    Row("lightning-4step", (0.3, 0.7, 0.85, 0.5), 0.74, seconds=0.9, mesh=0.25),
    Row("expression-sheet", (0.2, 0.6, 0.85, 0.92), 0.82, licence="openrail++"),
    Row("do-nothing", (0, 0, 0, 0), 1.0, "control", seconds=0.0),
)


def draw(person: dict, edit: str | None, done: bool, kept: bool, mesh: bool, seed: int, size: int) -> Image.Image:
    """Draw a toy figure; what the edit asks for is visible, and so is what went wrong."""
    rng = random.Random(seed)
    big = size * 2
    skin, hair, shirt = (person["skin"], person["hair"], person["shirt"])
    if not kept:
        hair, shirt = (rng.randrange(40, 220), rng.randrange(40, 200), rng.randrange(40, 220)), (90, 80, 120)
    sky, ground = person["sky"], person["ground"]
    if edit == "background" and done:
        sky, ground = (150, 190, 150), (58, 96, 62)
    top, bottom = np.array(sky, float), np.array(ground, float)
    ramp = np.linspace(0, 1, big)[:, None, None]
    pixels = (top * (1 - ramp) + bottom * ramp) * np.ones((big, big, 1))
    picture = Image.fromarray(pixels.astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    if edit == "background" and done:
        for n in range(7):
            x = big * (0.02 + 0.16 * n)
            pen.polygon([(x, big * 0.75), (x + big * 0.16, big * 0.75), (x + big * 0.08, big * (0.2 + 0.05 * (n % 3)))],
                        fill=(40, 84 + 8 * (n % 3), 52))
    turn = (0.11 if done else 0.02) * big if edit == "camera" else person["turn"] * big
    middle = big / 2
    pen.rounded_rectangle([middle - big * 0.2, big * 0.62, middle + big * 0.2, big * 1.2], big * 0.14, fill=shirt)
    pen.ellipse([middle - big * 0.25, big * 0.16, middle + big * 0.25, big * 0.7], fill=hair)
    pen.ellipse([middle - big * 0.2 + turn, big * 0.24, middle + big * 0.2 + turn, big * 0.68], fill=skin)
    for side in (-1, 1):
        x = middle + turn * 1.5 + side * big * 0.085
        pen.ellipse([x - big * 0.024, big * 0.42, x + big * 0.024, big * 0.48], fill=(35, 30, 30))
        if person["glasses"] and kept:
            pen.ellipse([x - big * 0.06, big * 0.39, x + big * 0.06, big * 0.51], outline=(30, 40, 70), width=max(2, big // 70))
    mouth = [middle + turn * 1.5 - big * 0.07, big * 0.5, middle + turn * 1.5 + big * 0.07, big * 0.61]
    if edit == "expression" and done:
        pen.chord(mouth, 10, 170, fill=(150, 40, 50))
    else:
        pen.arc(mouth, 40, 140, fill=(120, 50, 50), width=max(2, big // 60))
    pixels = np.asarray(picture.filter(ImageFilter.GaussianBlur(big / 260)), float)
    across, down = np.meshgrid(np.linspace(-1, 1, big), np.linspace(-1, 1, big))
    lit = 1 + 0.14 * -across - 0.1 * down
    if edit == "lighting" and done:
        pixels = pixels * np.array([1.18, 0.86, 0.62])
        lit = 1 + 0.42 * across
    pixels = pixels * lit[..., None]
    if mesh:
        pixels += 22 * (np.sin(across * 90) * np.sin(down * 90))[..., None]
    pixels += np.random.default_rng(seed).normal(0, 2.5, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).resize((size, size), Image.Resampling.LANCZOS)


def person(number: int) -> dict:
    """The same character in another setting."""
    rng = random.Random(number)
    return {
        "skin": (236, 188, 150), "hair": (120, 52, 30), "shirt": (38, 120, 128), "glasses": True,
        "sky": tuple(rng.randrange(150, 230) for _ in range(3)), "ground": tuple(rng.randrange(90, 150) for _ in range(3)),
        "turn": rng.uniform(-0.05, 0.05),
    }


def estimate(passes: list[bool | None], photos: int) -> Estimate:
    """A rate with plausible widths; nothing measured stays nothing."""
    known = [one for one in passes if one is not None]
    if not known:
        return Estimate(None, note="no picture could be scored")
    rate = sum(known) / len(known)
    here = 1.0 * math.sqrt(max(rate * (1 - rate), 0.01) / len(known))
    new = 1.9 * math.sqrt(max(rate * (1 - rate), 0.02) / photos)
    ends = (max(0.0, rate - new), min(1.0, rate + new), max(0.0, rate - here), min(1.0, rate + here))
    return Estimate(rate, *ends, photos=photos, cells=len(known))


@dataclass(frozen=True)
class Project:
    """A project on disk and its report input."""

    given: ReportInput
    folder: Path


def build(
    folder: Path, *, photos: int = 5, seeds: int = 2, size: int = 128, rows: tuple[Row, ...] = ROWS, undecided: bool = False,
    truth: bool = True, source_size: int | None = None, prompts: dict[str, str] | None = None,
) -> Project:
    """Make a project: draw its pictures into `folder` and fabricate everything that a report reads."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    prompts = prompts or PROMPTS
    base = BaseModel("Qwen/Qwen-Image-Edit-2509", "qwen_image_edit", "local", "f" * 24)
    sources = [_source(folder, n, source_size or size) for n in range(photos)]
    candidates = tuple(_candidate(row) for row in rows)
    cases = tuple(EditCase(f"{source.id}/{family}", source.id, family, family, prompts[family], {})
                  for source in sources for family in FAMILIES)
    cells, generations, scores = [], {}, {}
    for row, candidate in zip(rows, candidates, strict=True):
        for case in cases:
            for seed in range(1, seeds + 1):
                name = cell_id(base, candidate, case, (case.source,), seed, {}) + f"{rows.index(row):02d}{cases.index(case):03d}"
                cell = PlannedCell(name, row.name, case.id, seed)
                cells.append(cell)
                generations[name], scores[name] = _make(folder, row, case, cell, size, int(case.source[-1]))
    # what really happens: one failed, one never made, one unscored
    failed, unmade = cells[len(cells) // 3], cells[len(cells) // 2]
    generations[failed.id] = Generation(failed.id, "failed", None, {"total": 2.0}, 0, "out of memory: 23.4 of 24 GiB in use")
    scores.pop(failed.id)
    generations.pop(unmade.id)
    scores.pop(unmade.id)
    plan = Plan("mychar", base, candidates, tuple(sources), (), (), cases, tuple(cells), _refused(), "figure",
                ("camera", "lighting", "background", "identity"), 0.7, {"torch": "2.9"})
    findings = _findings(plan, rows, generations, scores, undecided=undecided, truth=truth)
    given = ReportInput(findings, plan, generations, scores, lambda digest: folder / "images" / f"{digest}.png",
                        lambda name: folder / f"{name}.png")
    return Project(given, folder)


def _source(folder: Path, number: int, size: int) -> SourceImage:
    path = folder / f"photo-{number}.png"
    draw(person(number), None, False, True, False, number, size).save(path)
    return SourceImage(f"photo-{number}", path.name, "0" * 64, size, size)


def _candidate(row: Row) -> Candidate:
    uses = () if row.role != "candidate" else (AdapterUse(row.name, "x.safetensors", hashlib.sha256(row.name.encode("utf-8", "replace")).hexdigest()),)
    return Candidate(row.name, uses, role=row.role, control="do-nothing" if row.role == "control" else "", licence=row.licence)


def _make(folder: Path, row: Row, case: EditCase, cell: PlannedCell, size: int, photo: int) -> tuple[Generation, tuple[Score, ...]]:
    rng = random.Random(f"{row.name}{case.id}{cell.seed}")
    done = rng.random() < row.edit[FAMILIES.index(case.family)]
    kept = rng.random() < row.keep or (not done and rng.random() < 0.7)
    mesh = rng.random() < row.mesh
    picture = draw(person(photo), case.family, done, kept, mesh, cell.seed, size)
    digest = hashlib.sha256(picture.tobytes()).hexdigest()
    picture.save(folder / "images" / f"{digest}.png", compress_level=1)
    spent = row.seconds * rng.uniform(0.95, 1.05)
    made = Generation(cell.id, "done", digest, {"denoise": spent * 0.8, "total": spent}, 3 << 30,
                      facts={"device": "2 CPU cores", "width": size, "height": size})
    boxes = {"regions": [[size // 4, size // 4, size // 3, size // 3]]} if mesh else {}
    scores = (
        Score(cell.id, "following/verified", 1, rng.uniform(0.7, 1) if done else rng.uniform(0, 0.4), passed=done, gate="edit"),
        Score(cell.id, "identity/figure", 2, rng.uniform(0.75, 0.98) if kept else rng.uniform(0.2, 0.5), passed=kept, gate="identity"),
        Score(cell.id, "artifacts/mesh", 1, 0.9 if mesh else 0.02, passed=not mesh, gate="artefact", detail=boxes),
        Score(cell.id, "preservation/lpips", 1, None, "not applicable: the background was to change"),
    )
    return made, scores


def _refused() -> tuple[dict[str, str], ...]:
    return (
        {"name": "flux-face-lock.safetensors", "reason": "Made for FLUX.1: 0 of 456 keys match this base. Look for a Qwen-Image-Edit version."},
        {"name": "zero-effect.safetensors", "reason": "Every up-matrix is zero, so it changes no picture. Ask its author for the trained file."},
    )


def passed(scores: tuple[Score, ...]) -> bool | None:
    """True when every gate passed; None when nothing was scored."""
    verdicts = [score.passed for score in scores if score.passed is not None]
    return all(verdicts) if verdicts else None


def _findings(plan: Plan, rows: tuple[Row, ...], generations: dict, scores: dict, *, undecided: bool, truth: bool) -> Findings:
    facts = [_facts(plan, row, generations, scores, truth) for row in rows]
    by_role = {"base": 0, "candidate": 1, "control": 2}
    facts.sort(key=lambda row: (by_role[row.role], -(row.ccr.value or 0)))
    rivals = [row for row in facts if row.role == "candidate"]
    failures: dict[str, tuple[str, ...]] = {}
    for cell in plan.cells:
        for score in scores.get(cell.id, ()):
            if score.passed is False:
                kind = {"edit": "edit-not-done", "identity": "identity-lost", "artefact": "mesh-pattern"}[score.gate]
                failures[kind] = (*failures.get(kind, ()), cell.id)
        made = generations.get(cell.id)
        if made and made.status == "failed":
            failures["generation-failed"] = (*failures.get("generation-failed", ()), cell.id)
    return Findings(
        plan.project, plan.base.id, plan.target, plan.must_have, len(plan.sources), tuple(facts), plan.refused,
        _recommendation(rivals, undecided), failures,
        ("Five photographs are few: the range for new ones stays wide however many seeds are drawn.",
         "Identity is scored by an encoder for drawn figures; its figures mean nothing for real faces."),
        ({"question": "What is good enough?", "default": "70% consistent pictures", "reason": "The brief's own target.", "flag": "--target 0.7"},
         {"question": "Which pictures?", "default": "five photographs, varied views", "reason": "Photographs are the unit; more views, narrower ranges.", "flag": "--refs"},
         {"question": "How many combinations?", "default": "pairs of the best two per capability", "reason": "Stacks of three rarely keep the person.", "flag": "--combinations 1"},
         {"question": "What else is measured?", "default": "preservation, drift, defects, cost", "reason": "They explain a rate; they do not enter it.", "flag": "--metrics"},
         {"question": "What weighs how much?", "default": "every capability alike", "reason": "No must-have counts twice.", "flag": "--weights"}),
        {"command": "whichlora evaluate mychar --refs photos --seeds 2 --target 0.7", "settings": {"steps": 8, "true_cfg_scale": 2.0},
         "versions": {"torch": "2.9.0", "diffusers": "0.42.1"}, "seeds": [1, 2],
         "survey": [{"repo_id": "someone/angles", "file": "angles.safetensors", "verdict": "compatible", "list": "must",
                     "relevance": "camera angle", "training": "ai-toolkit, rank 16, 3,000 steps", "requires": "Chinese trigger", "licence": "apache-2.0"}],
         "training": ["Most angle LoRAs were trained on rendered pairs, rank 16 to 32, 2,000 to 6,000 steps.", "None states its validation set."]},
    )


def _facts(plan: Plan, row: Row, generations: dict, scores: dict, truth: bool) -> CandidateFacts:
    own = [cell for cell in plan.cells if cell.candidate == row.name]
    family = {case.id: case.family for case in plan.cases}
    verdict = {cell.id: passed(scores.get(cell.id, ())) for cell in own}
    photos = len(plan.sources)
    capabilities = {}
    for place, name in enumerate(FAMILIES):
        rate = estimate([verdict[cell.id] for cell in own if family[cell.case] == name], photos)
        capabilities[name] = _capability(row, name, rate, ROWS[0].edit[place] * ROWS[0].keep)
    kept = [_gate(scores.get(cell.id, ()), "identity") for cell in own]
    capabilities["identity"] = _capability(row, "identity", estimate(kept, photos), ROWS[0].keep)
    done = [_gate(scores.get(cell.id, ()), "edit") for cell in own]
    if row.role == "control":
        capabilities.pop("expression")
        capabilities["background"] = replace(capabilities["background"], rate=Estimate(None), state="OPEN", against_base=None)
    values = [c.rate.value for c in capabilities.values() if c.rate.value is not None]
    overall = estimate(list(verdict.values()), photos)
    if values:
        value, half = sum(values) / len(values), 0.4 * ((overall.high or 0) - (overall.low or 0))
        overall = replace(overall, value=value, low=max(0, value - half), high=min(1, value + half),
                          low_here=max(0, value - half / 3), high_here=min(1, value + half / 3))
    ranked = sorted((cell.id for cell in own if verdict[cell.id] is not None), key=lambda c: (verdict[c] is False, c))
    return CandidateFacts(
        row.name, row.role, overall, overall.value, overall.value, capabilities, _share(done), _share(kept), None,
        1 - (_share(done) or 0), {"mesh": sum(v.metric == "artifacts/mesh" and v.passed is False for c in own for v in scores.get(c.id, ()))},
        {"planned": len(own), "done": sum(c.id in generations for c in own), "failed": sum(c.id in generations and generations[c.id].status == "failed" for c in own),
         "unscored": sum(c.id not in scores for c in own)},
        {"identity/figure": 0.83, "drift/zoom": 0.0021} if row.role != "control" else {"identity/figure": 1.0},
        None if row.role == "control" else row.seconds, None if row.role == "control" else 3.1,
        0.71 if row is ROWS[1] else 0.04 if row.role == "candidate" else None,
        (f"Does camera edits in {row.edit[0]:.0%} of pictures.",) if row.edit[0] > 0.5 else (),
        ("Camera angles: turns too little, and the hair changes.",) if row.edit[0] < 0.5 else (),
        tuple(ranked), tuple(reversed(ranked)), row.licence,
        "**Best angles ever!** Trained on 10k pairs, keeps *any* face. [more](https://example.org/card)" if row.role == "candidate" else "",
        min(1.0, (overall.value or 0) * 0.98 + 0.01) if truth and row.role != "control" else None,
    )


def _gate(scores: tuple[Score, ...], gate: str) -> bool | None:
    return next((score.passed for score in scores if score.gate == gate), None)


def _share(verdicts: list[bool | None]) -> float | None:
    known = [one for one in verdicts if one is not None]
    return sum(known) / len(known) if known else None


def _capability(row: Row, name: str, rate: Estimate, base: float) -> CapabilityFact:
    state = "OPEN" if rate.value is None or (rate.low < 0.7 <= rate.high) else "PASS" if rate.low >= 0.7 else "FAIL"
    if row.role == "base" or rate.value is None:
        return CapabilityFact(name, state, rate, more_photos=12 if state == "OPEN" else None)
    gain = rate.value - base
    against = Estimate(gain, gain - 0.15, gain + 0.15)
    return CapabilityFact(name, state, rate, against, gain > 0.25, gain < -0.25, 12 if state == "OPEN" else None)


def _recommendation(rivals: list[CandidateFacts], undecided: bool) -> Recommendation:
    best = rivals[0].name if rivals else ""
    options = (
        Option("existing", "One existing LoRA", best, ("Nothing to train.",), ("Expression stays below the target.",), ("expression",), "1–2 h of set-up", "low: one file"),
        Option("multi", "Several LoRAs together", best, ("Each does what it is best at.",), ("Slower, and they can disturb one another.",), (), "2–4 h", "medium: weights must be tuned"),
        Option("custom", "Train your own", "", ("Fits this character exactly.",), ("Its gain is unmeasured.", "Needs pairs that nobody has yet."), (), "20–60 h (assumed)", "high: data, training, validation", "multi-angles-v2"),
        Option("hybrid", "Existing LoRAs, train the rest", best, ("Trains only what is missing.",), ("Two things to keep up.",), ("expression",), "10–30 h (assumed)", "high: both of the above", "expression-sheet"),
    )
    common = {
        "flip": ("If lighting fell below 66%, training the rest would win.", "Leaving out photo-3 turns the answer to: train the rest."),
        "options": options,
        "roadmap": ("Install the two files at weights 0.9 and 0.6 (half an hour).", "Generate 50 training pictures of your character and look through them (3 h).", "Measure again with 15 more photographs (4 GPU hours)."),
        "rationale": ("It reaches the target for camera, lighting and background on these photographs.", "No other row is shown better at anything you need."),
    }
    if undecided:
        return Recommendation("undecided", "multi", best, False,
                              f"Not decided: {best} leads with 88% consistent pictures (60–98% on new photographs), but lighting is still open.",
                              next_step="15 more photographs, about 4 GPU hours, settle it with probability 0.83.", **common)
    return Recommendation("existing", None, best, True,
                          f"Use {best}: it keeps your character in 88% of pictures (74–96% on new photographs), where the base model manages 57%.",
                          next_step="None is needed; 15 more photographs would settle expression.", **common)
