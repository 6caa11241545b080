"""A weightless family for fast tests and rehearsals: edits are simple image operations, LoRAs are a few numbers.

A base is a folder with `painter.json`; a LoRA is a safetensors file whose scalars say how well it edits, such as
`painter.camera = 0.8`. A strength of 0 does nothing. Copy this file to begin a family of your own.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import RefusedError, UserError
from whichlora.families._painter import strokes
from whichlora.families._painter.instructions import Ask, understand
from whichlora.families._painter.look import look
from whichlora.families._painter.merging import merge_strengths
from whichlora.families._painter.strokes import Scene
from whichlora.families.base import Picture, SwitchReport
from whichlora.lora.header import TensorFile, read_header
from whichlora.lora.merge import Recipe
from whichlora.types import AdapterUse, BaseModel, Candidate, SamplerProfile, fingerprint

VERSION = 1
"""Raised when the same base, LoRA and seed could make another picture."""
STRENGTHS: Mapping[str, float] = {
    "camera": 0.25, "lighting": 0.6, "background": 0.6, "expression": 0.3,
    "identity_damage": 0.0, "drift": 0.0, "grid": 0.0, "segmentation": 0.0,
}
"""What a painter can do, with what a base does by itself unless its painter.json says otherwise."""
SETTINGS = "painter.json"
_PREFIX = "painter."


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """An encoded photograph, or an edited one on its way to `decode`."""

    canvas: strokes.Canvas
    scene: Scene


@dataclass(frozen=True, slots=True)
class _Value:
    """One number of a painter LoRA, in the shape of a canonical module."""

    name: str
    value: float
    parameter: str = "weight"
    needs_weight: bool = False

    def factors(self) -> None:
        """A number has no factors."""

    def delta(self, weight: NDArray[np.floating] | None = None) -> NDArray[np.float32]:
        """The whole change."""
        return np.array([self.value], np.float32)


class Painter:
    """See `families/base.py` for the contract."""

    name = "painter"
    library_names = ("numpy", "opencv-python-headless", "onnxruntime")

    def identify(self, location: str, options: Mapping[str, Any]) -> BaseModel:
        """Recognise a folder with painter.json: {'name', 'strengths': {…}, 'faces': bool, 'sampler': {…}}.

        Raises:
            UserError: There is none, or it says something a painter does not know.
        """
        if options:
            raise UserError(f"The painter has no option '{sorted(options)[0]}'.")
        settings = _settings(location)
        # A base that draws no masks is the base that it was before painters could.
        able = {name: value for name, value in settings["strengths"].items() if value or name != "segmentation"}
        identity = [able, settings["faces"], VERSION]
        return BaseModel(settings["name"], self.name, location, fingerprint(["painter", *identity]))

    def default_sampler(self, base: BaseModel) -> SamplerProfile:
        """One step at 256² unless painter.json says otherwise."""
        plain: dict[str, Any] = {"num_inference_steps": 1, "true_cfg_scale": 1.0, "reference_area_px": 256 * 256}
        try:
            return SamplerProfile(**{**plain, **_settings(base.location)["sampler"]})
        except TypeError as error:
            raise UserError(f"{SETTINGS} of '{base.id}' has wrong sampler settings ({error}).") from error

    def check_file(self, base: BaseModel, path: Path) -> None:
        """Refuse what is no painter LoRA."""
        if not any(value.value for value in read_strengths(path)):
            raise RefusedError("Every number in it is zero: it would measure the base under its name.")

    def merge(self, base: BaseModel, uses: Sequence[AdapterUse], recipe: str, folder: Path) -> AdapterUse:
        """The merged LoRA of some parts: number by number, in the LoRA merges' own arithmetic.

        Raises:
            RefusedError: A part is no painter LoRA, or was replaced.
        """
        def read(use: AdapterUse) -> list[tuple[str, float]]:
            return [(value.name, value.value) for value in _strengths_of(use)]

        return merge_strengths(uses, Recipe.parse(recipe), folder, read)

    def load(self, base: BaseModel, device: str) -> PainterSession:
        """Open a session; the device plays no part."""
        return PainterSession(base, _settings(base.location))


class PainterSession:
    """See `families/base.py` for the contract."""

    def __init__(self, base: BaseModel, settings: Mapping[str, Any]) -> None:
        self.base = base
        self.counts = {"prompt": 0, "image": 0}
        self._faces = bool(settings["faces"])
        self._pristine: dict[str, float] = dict(settings["strengths"])
        self._working = dict(self._pristine)
        self._released = False

    def libraries(self) -> Mapping[str, str]:
        """Versions of numpy, OpenCV and onnxruntime."""
        return {name: version(name) for name in Painter.library_names}

    def encode_prompt(
        self, prompt: str, pictures: list[Picture], sampler: SamplerProfile
    ) -> tuple[str, tuple[Ask, ...]]:
        """Understand an instruction."""
        if self._released:
            raise RuntimeError("The encoders were released already.")
        self.counts["prompt"] += 1
        return prompt, understand(prompt)

    def encode_image(self, picture: Picture, sampler: SamplerProfile) -> Sketch:
        """Resize a photograph and look where head, mouth and subject are."""
        self.counts["image"] += 1
        small = self._resized(picture, sampler)
        return Sketch(small.astype(np.float32), look(small, faces=self._faces))

    def release_encoders(self) -> None:
        """Nothing is held, but later encodings are refused, as by families that free their encoders."""
        self._released = True

    def switch(self, candidate: Candidate) -> SwitchReport:
        """Add the files' numbers to the base's.

        Raises:
            RefusedError: A file is no painter LoRA, or is missing.
        """
        started = time.perf_counter()
        if candidate.combine != "stack" and candidate.adapters and candidate.merged is None:
            raise RefusedError(f"'{candidate.name}' combines LoRAs by '{candidate.combine}', but was not merged.")
        self._working = dict(self._pristine)
        changes = [
            (use.weight * value.value, value.name)
            for use in (*candidate.applied, *candidate.sampler.adapters) for value in self._values(use)
        ]
        for change, name in changes:
            self._working[name.removeprefix(_PREFIX)] += change
        alive = [name for change, name in changes if change]
        size = float(np.sqrt(sum(change**2 for change, _ in changes)))
        return SwitchReport(candidate.name, len(alive), len(alive), time.perf_counter() - started, {"delta_rms": size})

    def probe(self, candidate: Candidate) -> float:
        """Relative change of one fixed picture, edited in every way, by the candidate's own files."""
        self.switch(replace(candidate, adapters=()))
        before = self._fixed()
        self.switch(candidate)
        return float(np.abs(self._fixed() - before).max() / before.std())

    def denoise(
        self, prompt: tuple[str, tuple[Ask, ...]], negative: Any | None, images: list[Sketch],
        sampler: SamplerProfile, seed: int,
    ) -> Sketch:
        """Do what was asked of the first picture, as well as the active strengths allow."""
        text, asks = prompt
        draw = int.from_bytes(hashlib.sha256(f"{seed}|{text}".encode()).digest()[:8], "little")
        return Sketch(self._paint(images[0], asks, draw), images[0].scene)

    def decode(self, latents: Sketch) -> Picture:
        """Round to 8 bits."""
        return np.clip(np.rint(latents.canvas), 0, 255).astype(np.uint8)

    def round_trip(self, picture: Picture, sampler: SamplerProfile) -> Picture:
        """Lose a little, as a VAE does."""
        import cv2

        small = self._resized(picture, sampler)
        return np.asarray(cv2.GaussianBlur(small, (0, 0), 0.6), np.uint8)

    def output_size(self, picture: Picture, sampler: SamplerProfile) -> tuple[int, int]:
        """Sides of about the reference area, multiples of 8."""
        height, width = picture.shape[:2]
        scale = (sampler.reference_area_px / (height * width)) ** 0.5
        return max(16, round(height * scale / 8) * 8), max(16, round(width * scale / 8) * 8)

    def peak_memory_bytes(self) -> int:
        """Resident memory now."""
        import psutil

        return int(psutil.Process().memory_info().rss)

    def reset_peak_memory(self) -> None:
        """Nothing to reset."""

    # ------------------------------------------------------------------ what the load gate asks

    def pristine(self, module: str) -> NDArray[np.float32]:
        """The base's own strength, as an array of one."""
        return np.array([self._pristine[module.removeprefix(_PREFIX)]], np.float32)

    def weights(self, module: str) -> NDArray[np.float32]:
        """The strength at work now."""
        return np.array([self._working[module.removeprefix(_PREFIX)]], np.float32)

    def touched(self) -> tuple[str, ...]:
        """Strengths that differ from the base's."""
        return tuple(_PREFIX + name for name, value in self._working.items() if value != self._pristine[name])

    def weight_dtype(self) -> str:
        """Strengths are compared as fp32."""
        return "float32"

    @contextmanager
    def load_adapter(self, use: AdapterUse) -> Iterator[tuple[_Value, ...]]:
        """The numbers of a file."""
        yield self._values(use)

    # ------------------------------------------------------------------ inside

    def _values(self, use: AdapterUse) -> tuple[_Value, ...]:
        return _strengths_of(use)

    def _resized(self, picture: Picture, sampler: SamplerProfile) -> Picture:
        import cv2

        height, width = self.output_size(picture, sampler)
        mode = cv2.INTER_AREA if height * width < picture.shape[0] * picture.shape[1] else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(picture, (width, height), interpolation=mode), np.uint8)

    def _paint(self, sketch: Sketch, asks: tuple[Ask, ...], draw: int) -> strokes.Canvas:
        """Apply every asked edit at its strength (varied a little by the draw), then the painter's vices."""
        canvas, scene = sketch.canvas, sketch.scene
        amount = {name: float(np.clip(value, 0.0, 1.0)) for name, value in self._working.items()}
        luck = 0.9 + 0.1 * np.random.default_rng(draw).random()
        if amount["identity_damage"]:
            canvas = strokes.damage(canvas, scene, amount["identity_damage"] * luck)
        for ask in asks:
            strength = amount[ask.family] * luck
            if strength == 0:
                continue
            if ask.family == "expression":
                canvas = strokes.express(canvas, scene, ask.kind, strength)
            elif ask.family == "lighting":
                canvas = strokes.relight(canvas, ask.kind, strength)
            elif ask.family == "segmentation":
                canvas = strokes.segment(canvas, scene, strength)
            elif ask.family == "background":
                canvas = strokes.backdrop(canvas, scene, ask.kind, strength, draw)
            else:
                canvas = strokes.turn(canvas, scene, ask.kind, ask.degrees * strength)
        if amount["drift"]:
            canvas = strokes.drift(canvas, amount["drift"] * luck)
        return strokes.grid_artefact(canvas, amount["grid"]) if amount["grid"] else canvas

    def _fixed(self) -> strokes.Canvas:
        """A fixed picture, edited in every way one after the other."""
        y, x = np.mgrid[0:96, 0:96].astype(np.float32)
        picture = np.stack([120 + 60 * np.sin(x / 7), 120 + 60 * np.cos(y / 9), 90 + x], axis=-1).astype(np.uint8)
        sketch = Sketch(picture.astype(np.float32), look(picture, faces=False))
        asks = ("rotate the camera 45 degrees left", "sunset light", "background: beach", "smile")
        return np.concatenate([self._paint(sketch, understand(ask), 1) for ask in asks])


def read_strengths(path: Path) -> tuple[_Value, ...]:
    """The numbers of a painter LoRA.

    Raises:
        RefusedError: It holds anything else.
    """
    header = read_header(path)
    values: list[_Value] = []
    with TensorFile(path, header) as tensors:
        for key in sorted(header.entries):
            entry = header.entries[key]
            if key.removeprefix(_PREFIX) not in STRENGTHS or not key.startswith(_PREFIX):
                raise RefusedError(f"'{key}' is nothing that a painter can do: the file is made for another model.",
                                   fix=f"Known: {', '.join(_PREFIX + name for name in STRENGTHS)}.")
            if entry.shape not in ((), (1,)):
                raise RefusedError(f"'{key}' has shape {list(entry.shape)}; a painter takes single numbers.")
            value = float(np.asarray(tensors.read(entry)).reshape(-1)[0])
            if not np.isfinite(value) or not -1.0 <= value <= 1.0:
                raise RefusedError(f"'{key}' is {value}; a painter takes −1 to 1.")
            values.append(_Value(key, value))
    if not values:
        raise RefusedError("It holds no tensors at all.")
    return tuple(values)


def _strengths_of(use: AdapterUse) -> tuple[_Value, ...]:
    path = Path(use.path)
    if not path.is_file():
        raise RefusedError(f"The LoRA '{use.name}' is no longer at '{path}'.", fix="Put it back, or plan again.")
    if use.sha256 and hashlib.sha256(path.read_bytes()).hexdigest() != use.sha256:
        raise RefusedError(f"'{path}' is not the file that was planned as '{use.name}' (its SHA-256 differs).")
    return read_strengths(path)


def _settings(location: str) -> dict[str, Any]:
    """Read and check painter.json."""
    import json

    path = Path(location) / SETTINGS
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"There is no painter at '{location}': {SETTINGS} cannot be read.",
                        fix="Point to a folder that holds it, or name another family.") from error
    except ValueError as error:
        raise UserError(f"'{path}' is not valid JSON ({error}).") from error
    if not isinstance(data, dict):
        raise UserError(f"'{path}' holds no JSON object.")
    strengths = {**STRENGTHS, **data.get("strengths", {})}
    unknown = sorted(set(strengths) - set(STRENGTHS)) or sorted(set(data) - {"name", "strengths", "faces", "sampler"})
    if unknown:
        raise UserError(f"'{path}' says '{unknown[0]}', which no painter knows.",
                        fix=f"Strengths: {', '.join(STRENGTHS)}. Other settings: name, faces, sampler.")
    return {
        "name": str(data.get("name", Path(location).resolve().name)), "faces": bool(data.get("faces", True)),
        "strengths": {name: float(value) for name, value in strengths.items()}, "sampler": data.get("sampler", {}),
    }


PLUGIN = Painter()
