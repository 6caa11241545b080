"""Small projects for tests of runs: a painter's base, LoRAs, photographs, a plan; and a family that breaks to order.

The breaking family is a third party's plug-in: a module and an entry point on PYTHONPATH, found by worker processes as
any other. What it breaks stands in `faults.json` in its base's folder; nothing inside whichlora is replaced.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

from families import painters
from whichlora import registry
from whichlora.plan.candidates import LoraFolder, resolve_candidates
from whichlora.plan.matrix import build_cases, build_plan
from whichlora.run.controls import missing_material
from whichlora.run.executor import Setup
from whichlora.store import Store
from whichlora.suite.loading import parse_suite
from whichlora.suite.templating import render_suite
from whichlora.types import SourceImage

ROOT = Path(__file__).resolve().parents[2]

FAULTY = '''
"""A painter that breaks when it is told to."""
import ctypes, dataclasses, json, os, pathlib, time
from whichlora import errors
from whichlora.families import painter

class Session(painter.PainterSession):
    """Breaks at the n-th picture, at a seed's picture, while loading, or when it is asked to check a LoRA."""

    def __init__(self, base, settings, folder):
        super().__init__(base, settings)
        self._folder, self._name, self._made = folder, "base", 0
        self._apply("load", "")

    def _faults(self):
        path = self._folder / "faults.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def _once(self, name):
        """True the first time only, over all processes."""
        try:
            (self._folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _apply(self, where, what):
        for number, fault in enumerate(self._faults().get(where, ())):
            if fault.get("match", "") in what and (not fault.get("once") or self._once(f"{where}-{number}.done")):
                self._break(fault["how"])

    def _break(self, how):
        if how == "crash":
            ctypes.string_at(0)
        elif how == "exit":
            os._exit(7)
        elif how == "hang":
            time.sleep(3600)
        elif how == "oom":
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        elif how == "refuse":
            raise errors.RefusedError("The picture is not finite.")
        elif how == "noise":
            self._noise = True
        elif how.startswith("sleep"):
            time.sleep(float(how.split()[1]))

    def switch(self, candidate):
        self._name = candidate.name
        self._apply("switch", candidate.name)
        report = super().switch(candidate)
        seconds = self._faults().get("switch_s", 0)
        time.sleep(seconds)
        return report

    def probe(self, candidate):
        self._apply("probe", candidate.name)
        return super().probe(candidate)

    def denoise(self, prompt, negative, images, sampler, seed):
        with (self._folder / "denoise.log").open("a") as log:
            log.write(f"{seed}\\n")
        self._apply("denoise", f"{self._name}|{prompt[0]}|{seed}|")
        forwards = sampler.num_inference_steps * (2 if sampler.true_cfg_scale > 1 else 1)
        time.sleep(forwards * self._faults().get("forward_s", 0))
        return super().denoise(prompt, negative, images, sampler, seed)

    def remarks(self):
        return self._faults().get("remarks", [])

    def pictures_together(self, sampler):
        return self._faults().get("together", 1)

    def denoise_together(self, jobs, sampler):
        with (self._folder / "together.log").open("a") as log:
            log.write(f"{len(jobs)}\\n")
        self._apply("together_pass", self._name)
        return [self.denoise(job.prompt, job.negative, job.images, sampler, job.seed) for job in jobs]

    def decode(self, latents):
        time.sleep(self._faults().get("decode_s", 0))
        picture = super().decode(latents)
        if getattr(self, "_noise", False):
            picture = picture ^ 1
        return picture

class Faulty(painter.Painter):
    name = "faulty"

    def identify(self, location, options):
        return dataclasses.replace(super().identify(location, options), family="faulty")

    def load(self, base, device):
        return Session(base, painter._settings(base.location), pathlib.Path(base.location))

PLUGIN = Faulty()
'''


def install_faulty(folder: Path) -> Path:
    """Lay the plug-in down as an installed package; its folder belongs on PYTHONPATH (and sys.path)."""
    site = folder / "site"
    info = site / "faulty_painter-1.dist-info"
    info.mkdir(parents=True)
    (site / "faulty_painter.py").write_text(FAULTY, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-painter\nVersion: 1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[whichlora.families]\nfaulty = faulty_painter:PLUGIN\n", encoding="utf-8")
    return site


def break_at(folder: Path, **faults) -> None:
    """Say what breaks: denoise=[{'match', 'how', 'once'}], load=…, switch=…, probe=…, forward_s=…, switch_s=…."""
    (folder / "painter" / "faults.json").write_text(json.dumps(faults), encoding="utf-8")


def photograph(path: Path, seed: int) -> None:
    draw = np.random.default_rng(seed)
    small = draw.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(small).resize((96, 72), Image.Resampling.BICUBIC).save(path)


def source(folder: Path, path: Path, name: str) -> SourceImage:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return SourceImage(name, path.relative_to(folder).as_posix(), digest, 96, 72)


LORAS = {"a": {"camera": 0.9, "lighting": 0.9}, "b": {"background": 0.9}}


def build(folder: Path, *, family: str = "painter", photos: int = 2, loras=None, samplers=None, of=None, area=64 * 64):
    """Folder, plan, setup and rows of a small project.

    Args:
        folder: An empty folder.
        family: 'painter', or 'faulty' once it is installed.
        photos: Photographs to edit.
        loras: Name → strengths.
        samplers: Named samplers of the suite.
        of: LoRA name → sampler name.
        area: Reference area, in pixels.
    """
    plugin = registry.load("families", family)
    loras = loras or LORAS
    location = painters.base(folder / "painter", faces=False, sampler={"reference_area_px": area})
    base = plugin.identify(str(location), {})
    (folder / "refs").mkdir()
    pictures = []
    for seed, name in enumerate([*(f"photo-{n}" for n in range(photos)), "else"]):
        path = folder / "refs" / f"{name}.png"
        photograph(path, seed)
        pictures.append(source(folder, path, name))
    for name, strengths in loras.items():
        painters.lora(folder / f"{name}.safetensors", **strengths)
    candidates = [{"name": name, "loras": f"{name}.safetensors", **({"sampler": of[name]} if of and name in of else {})}
                  for name in loras]
    extra = {"samplers": samplers} if samplers else {}
    suite = parse_suite(render_suite(
        "figure", name="t", base={"location": "x", "family": family}, subject="other", sources={"count": photos},
        candidates=candidates, **extra,
    ))
    rows, _ = resolve_candidates(suite, plugin.default_sampler(base), LoraFolder((folder,)))
    rows = [row for row in rows if not missing_material(row, photos, 1, 0)]
    cases, _ = build_cases(suite, pictures[:-1], {})
    libraries = {"numpy": "1"}
    plan = build_plan(suite, base, rows, {"sources": tuple(pictures[:-1]), "impostors": tuple(pictures[-1:])}, cases,
                      libraries, {})
    return plan, Setup(base, "cpu", folder, libraries), rows


def pixels(folder: Path) -> dict[str, str]:
    """Pixel hash (or the error) of every stored cell."""
    with Store(folder) as store:
        return {cell: row.facts.get("pixels", "") for cell, row in store.generations().items()}


def rows_of(folder: Path):
    with Store(folder) as store:
        return store.generations()
