"""Builds small projects with pictures, hostile names and planted preferences."""

import io

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from whichlora.plan.codec import plan_to_json
from whichlora.store import Store
from whichlora.types import BaseModel, Candidate, Cell, EditCase, Generation, Plan, Score, SourceImage, fingerprint

NAMES = ("base", "zebra-angles@0.8", "quagga-lora-v2", "okapi_relight", "control-nothing")
FAMILIES = ("camera", "lighting", "background")


def make_plan(names=NAMES, photos=4, edits=3, seeds=(1, 2), project="mina", prompt="Turn her to the left ({n})."):
    candidates = tuple(
        Candidate(name, role="base" if at == 0 else "control" if name.startswith("control") else "candidate",
                  control="do-nothing" if name.startswith("control") else "")
        for at, name in enumerate(names)
    )
    sources = tuple(SourceImage(f"photo-{n}", f"refs/photo-{n}.png", fingerprint(n), 96, 128) for n in range(photos))
    cases = tuple(
        EditCase(f"{source.id}/edit-{n}", source.id, f"edit-{n}", FAMILIES[n % 3], prompt.format(n=n), {})
        for source in sources for n in range(edits)
    )
    cells = tuple(
        Cell("c1-" + fingerprint([c.name, k.id, seed]), c.name, k.id, seed)
        for c in candidates for k in cases for seed in seeds
    )
    base = BaseModel("tiny/base", "tiny", "here", "0" * 24)
    return Plan(project, base, candidates, sources, (), (), cases, cells, (), "photograph", FAMILIES, 0.7, {})


def png(text, hue, size=(96, 128), secret=""):
    image = Image.new("RGB", size, tuple(int(v) for v in np.clip(hue, 0, 255)))
    draw = ImageDraw.Draw(image)
    draw.ellipse((size[0] * 0.25, size[1] * 0.2, size[0] * 0.75, size[1] * 0.6), fill=(240, 220, 200))
    draw.text((6, size[1] - 18), text, fill=(0, 0, 0))
    info = PngImagePlugin.PngInfo()
    if secret:
        info.add_text("parameters", f"a girl, Lora hashes: {secret}")
        info.add_itxt("whichlora", secret)
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=info)
    return out.getvalue()


def make_project(folder, plan=None, *, size=(96, 128), upto=None, good=None, scores=True):
    """A project folder with a plan, its photographs, and a picture per cell that hides the candidate's name in it.

    good: candidate name → probability that the machine and the people find its pictures good.
    """
    plan = plan or make_plan()
    (folder / "refs").mkdir(parents=True)
    (folder / "whichlora.yaml").write_text("character: mina\n", encoding="utf-8")
    for n, source in enumerate(plan.sources):
        (folder / source.path).write_bytes(png(f"source {n}", (180, 200 - 20 * n, 160), size))
    rng = np.random.default_rng(7)
    cases = {case.id: n for n, case in enumerate(plan.cases)}
    with Store(folder, create=True) as store:
        store.add_document("plan", plan_to_json(plan))
        for number, cell in enumerate(plan.cells[:upto]):
            hue = rng.integers(60, 230, 3)
            image = store.images.put(png(f"{cases[cell.case]}.{cell.seed} n{number}", hue, size, secret=cell.candidate))
            store.add_generation(Generation(cell.id, "done", image, {"total": 1.0}, 1000))
            if scores:
                fine = bool(rng.random() < (good or {}).get(cell.candidate, 0.6))
                store.add_scores(machine_scores(cell.id, fine, rng), context=_context(plan))
    return plan


def _context(plan):
    from whichlora.metrics.stage import scoring_context

    return scoring_context(plan)


def machine_scores(cell, fine, rng):
    value = float(np.clip(rng.normal(0.7 if fine else 0.3, 0.12), 0, 1))
    noise = float(rng.random())
    return [
        Score(cell, "identity/figure", 1, value, "", fine, "identity"),
        Score(cell, "following/camera", 1, 1.0, "", True, "edit"),
        Score(cell, "artifacts/grid", 1, noise, "", noise < 0.8, "artefact"),
    ]
