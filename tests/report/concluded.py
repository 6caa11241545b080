"""Made-up findings for the made-up project: what a report reads after the analysis. No figure of it is an estimate."""

from __future__ import annotations

import math
from dataclasses import replace

from report.rows import FAMILIES, ROWS, Row
from whichlora.findings import CandidateFacts, CapabilityFact, Estimate, Findings, Option, Recommendation
from whichlora.types import Plan, Score


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


def passed(scores: tuple[Score, ...]) -> bool | None:
    """True when every gate passed; None when nothing was scored."""
    verdicts = [score.passed for score in scores if score.passed is not None]
    return all(verdicts) if verdicts else None


def findings_of(
    plan: Plan, rows: tuple[Row, ...], generations: dict, scores: dict, *, undecided: bool, truth: bool
) -> Findings:
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
        plan.project,
        plan.base.id,
        plan.target,
        plan.must_have,
        len(plan.sources),
        tuple(facts),
        plan.refused,
        _recommendation(rivals, undecided),
        failures,
        (
            "Five photographs are few: the range for new ones stays wide however many seeds are drawn.",
            "Identity is scored by an encoder for drawn figures; its figures mean nothing for real faces.",
        ),
        (
            {
                "question": "What is good enough?",
                "default": "70% consistent pictures",
                "reason": "The default target.",
                "flag": "--target 0.7",
            },
            {
                "question": "Which pictures?",
                "default": "five photographs, varied views",
                "reason": "Photographs are the unit; more views, narrower ranges.",
                "flag": "--refs",
            },
            {
                "question": "How many combinations?",
                "default": "pairs of the best two per capability",
                "reason": "Stacks of three rarely keep the person.",
                "flag": "--combinations 1",
            },
            {
                "question": "What else is measured?",
                "default": "preservation, drift, defects, cost",
                "reason": "They explain a rate; they do not enter it.",
                "flag": "--metrics",
            },
            {
                "question": "What weighs how much?",
                "default": "every capability alike",
                "reason": "No must-have counts twice.",
                "flag": "--weights",
            },
        ),
        {
            "command": "whichlora evaluate mychar --refs photos --seeds 2 --target 0.7",
            "settings": {"steps": 8, "true_cfg_scale": 2.0},
            "versions": {"torch": "2.9.0", "diffusers": "0.42.1"},
            "seeds": [1, 2],
            "survey": [
                {
                    "repo_id": "someone/angles",
                    "file": "angles.safetensors",
                    "verdict": "compatible",
                    "list": "must",
                    "relevance": "camera angle",
                    "training": "ai-toolkit, rank 16, 3,000 steps",
                    "requires": "Chinese trigger",
                    "licence": "apache-2.0",
                }
            ],
            "training": [
                "Most angle LoRAs were trained on rendered pairs, rank 16 to 32, 2,000 to 6,000 steps.",
                "None states its validation set.",
            ],
        },
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
        capabilities["background"] = replace(
            capabilities["background"], rate=Estimate(None), state="OPEN", against_base=None
        )
    values = [c.rate.value for c in capabilities.values() if c.rate.value is not None]
    overall = estimate(list(verdict.values()), photos)
    if values:
        value, half = sum(values) / len(values), 0.4 * ((overall.high or 0) - (overall.low or 0))
        overall = replace(
            overall,
            value=value,
            low=max(0, value - half),
            high=min(1, value + half),
            low_here=max(0, value - half / 3),
            high_here=min(1, value + half / 3),
        )
    ranked = sorted((cell.id for cell in own if verdict[cell.id] is not None), key=lambda c: (verdict[c] is False, c))
    return CandidateFacts(
        row.name,
        row.role,
        overall,
        overall.value,
        overall.value,
        capabilities,
        _share(done),
        _share(kept),
        None,
        1 - (_share(done) or 0),
        {"mesh": sum(v.metric == "artifacts/mesh" and v.passed is False for c in own for v in scores.get(c.id, ()))},
        {
            "planned": len(own),
            "done": sum(c.id in generations for c in own),
            "failed": sum(c.id in generations and generations[c.id].status == "failed" for c in own),
            "unscored": sum(c.id not in scores for c in own),
        },
        {"identity/figure": 0.83, "drift/zoom": 0.0021} if row.role != "control" else {"identity/figure": 1.0},
        None if row.role == "control" else row.seconds,
        None if row.role == "control" else 3.1,
        0.71 if row is ROWS[1] else 0.04 if row.role == "candidate" else None,
        (f"Does camera edits in {row.edit[0]:.0%} of pictures.",) if row.edit[0] > 0.5 else (),
        ("Camera angles: turns too little, and the hair changes.",) if row.edit[0] < 0.5 else (),
        tuple(ranked),
        tuple(reversed(ranked)),
        row.licence,
        "**Best angles ever!** Trained on 10k pairs, keeps *any* face. [more](https://example.org/card)"
        if row.role == "candidate"
        else "",
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
        Option(
            "existing",
            "One existing LoRA",
            best,
            ("Nothing to train.",),
            ("Expression stays below the target.",),
            ("expression",),
            "1–2 h of set-up",
            "low: one file",
        ),
        Option(
            "multi",
            "Several LoRAs together",
            best,
            ("Each does what it is best at.",),
            ("Slower, and they can disturb one another.",),
            (),
            "2–4 h",
            "medium: weights must be tuned",
        ),
        Option(
            "custom",
            "Train your own",
            "",
            ("Fits this character exactly.",),
            ("Its gain is unmeasured.", "Needs pairs that nobody has yet."),
            (),
            "20–60 h (assumed)",
            "high: data, training, validation",
            "multi-angles-v2",
        ),
        Option(
            "hybrid",
            "Existing LoRAs, train the rest",
            best,
            ("Trains only what is missing.",),
            ("Two things to keep up.",),
            ("expression",),
            "10–30 h (assumed)",
            "high: both of the above",
            "expression-sheet",
        ),
    )
    common = {
        "flip": (
            "If lighting fell below 66%, training the rest would win.",
            "Leaving out photo-3 turns the answer to: train the rest.",
        ),
        "options": options,
        "roadmap": (
            "Install the two files at weights 0.9 and 0.6 (half an hour).",
            "Generate 50 training pictures of your character and look through them (3 h).",
            "Measure again with 15 more photographs (4 GPU hours).",
        ),
        "rationale": (
            "It reaches the target for camera, lighting and background on these photographs.",
            "No other row is shown better at anything you need.",
        ),
    }
    if undecided:
        return Recommendation(
            "undecided",
            "multi",
            best,
            False,
            f"Not decided: {best} leads with 88% consistent pictures (60–98% on new photographs), "
            "but lighting is still open.",
            next_step="15 more photographs, about 4 GPU hours, settle it with probability 0.83.",
            **common,
        )
    return Recommendation(
        "existing",
        None,
        best,
        True,
        f"Use {best}: it keeps your character in 88% of pictures (74–96% on new photographs), "
        "where the base model manages 57%.",
        next_step="None is needed; 15 more photographs would settle expression.",
        **common,
    )
