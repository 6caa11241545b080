"""True consistency rates of the editor, with and without an adapter."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
from base import Editor
from model import Codec, sample
from settings import CHANNELS, TOKENS, Job
from torch import Tensor

from data import KEYS, rendered, thumbnails
from whichlora.tinyworld.characters import mina, reference_states
from whichlora.tinyworld.edits import Edit, apply_edits
from whichlora.tinyworld.identity import Identities, sample_identities
from whichlora.tinyworld.state import States, sample_states
from whichlora.tinyworld.truth import TruthGrader

DEMO_EDITS: tuple[tuple[Edit, ...], ...] = (
    (Edit("camera", "left_45"),),
    (Edit("camera", "right_45"),),
    (Edit("camera", "left_90"),),
    (Edit("camera", "above"),),
    (Edit("background", "beach"),),
    (Edit("background", "city"),),
    (Edit("light", "sunset"),),
    (Edit("light", "left"),),
    (Edit("light", "moon"),),
    (Edit("expression", "smile"),),
    (Edit("expression", "surprised"),),
    (Edit("camera", "left_45"), Edit("light", "sunset")),
)


def family_of(edits: tuple[Edit, ...]) -> str:
    """Family for reports; views apart from turns, two edits together are compound."""
    if len(edits) > 1:
        return "compound"
    if edits[0].family == "camera" and "_" not in edits[0].value:
        return "view"
    return edits[0].family


@dataclass
class EditTask:
    """Pictures to edit, the instruction of each, and the encoded sources."""

    who: Identities
    states: States
    edits: list[tuple[Edit, ...]]
    sources: Tensor
    targets: Tensor
    reference: Tensor
    thumbs: Tensor
    keys: Tensor
    name: str = ""

    @classmethod
    def build(cls, who: Identities, states: States, edits: list, codec: Codec, job: Job, name: str) -> EditTask:
        """Render sources and truths, encode the sources."""
        sources, _ = rendered(who, states, job)
        rows = [apply_edits(who.select([i]), states.select([i]), edit) for i, edit in enumerate(edits)]
        true_who, true_states = zip(*rows, strict=True)
        targets, _ = rendered(Identities.concat(true_who), States.concat(true_states), job)
        keys = torch.tensor([KEYS.index(edit) for edit in edits], device=job.device)
        return cls(
            who,
            states,
            edits,
            sources,
            targets,
            codec.encode(sources),
            thumbnails(sources),
            keys,
            name,
        )


def demo_task(codec: Codec, job: Job) -> EditTask:
    """Mina's ten references under every demonstration edit that changes something."""
    count = 2 if job.toy else 10
    who, states = mina().to(job.device), reference_states(count).to(job.device)
    chosen = DEMO_EDITS[::6] if job.toy else DEMO_EDITS
    pairs = [(i, e) for e in chosen for i in range(count) if not is_idle(states, i, e)]
    index = [i for i, _ in pairs]
    return EditTask.build(who.repeated(len(index)), states.select(index), [e for _, e in pairs], codec, job, "demo")


def stranger_task(codec: Codec, job: Job) -> EditTask:
    """New random people, each with one of the demonstration edits."""
    count = 4 if job.toy else 96
    generator = torch.Generator(job.device).manual_seed(77)
    who = sample_identities(count, job.device, generator)
    states = sample_states(count, job.device, generator)
    states = states.replaced(yaw=states.yaw.clamp(-0.8, 0.8))
    edits = [DEMO_EDITS[i % len(DEMO_EDITS)] for i in range(count)]
    kept = [i for i in range(count) if not is_idle(states, i, edits[i])]
    return EditTask.build(who.select(kept), states.select(kept), [edits[i] for i in kept], codec, job, "strangers")


def is_idle(states: States, row: int, edits: tuple[Edit, ...]) -> bool:
    """Whether an edit asks for what is already there."""
    one = states.select([row])
    for edit in edits:
        if edit.family in ("background", "light", "expression"):
            _, after = apply_edits(mina().to(one.device), one, (edit,))
            if bool((getattr(after, edit.family) == getattr(one, edit.family)).all()):
                return True
    return False


@torch.no_grad()
def outputs(editor: Editor, codec: Codec, task: EditTask, job: Job, steps: int, guidance: float) -> Tensor:
    """Edited pictures n×3×128×128 of a task."""
    generator = torch.Generator(job.device).manual_seed(1)
    shape = (len(task.keys), TOKENS, CHANNELS * 4)
    noise = torch.randn(*shape, device=job.device, generator=generator)
    rows = editor.instructions.fixed_rows(task.keys)
    thumbs = task.thumbs.float() / 255
    mask = editor.instructions.mask
    with job.amp(), torch.compiler.set_stance("force_eager"):
        prompt = (editor.prompts(rows, thumbs), mask[rows])
        empty = (editor.prompts(rows * 0, thumbs), mask[rows * 0])
        tokens = sample(editor.transformer, task.reference, prompt, empty, noise, steps, guidance)
    with torch.compiler.set_stance("force_eager"):
        return codec.decode(tokens)


def rates(task: EditTask, images: Tensor, grader: TruthGrader) -> dict[str, dict[str, float]]:
    """Per family: share with the edit done, identity kept, and both; and traits lost."""
    found = defaultdict(list)
    for i, edits in enumerate(task.edits):
        with torch.compiler.set_stance("force_eager"):
            grade = grader.grade(
                images[i],
                task.who.select([i]),
                task.states.select([i]),
                edits,
                name=f"{task.name}-{i}",
            )
        found[family_of(edits)].append(grade)
    report = {}
    for family, grades in found.items():
        count = len(grades)
        lost = defaultdict(int)
        for trait in (t for g in grades for t in g.lost_traits):
            lost[trait] += 1
        report[family] = {
            "pictures": count,
            "edit_done": round(sum(g.edit_done for g in grades) / count, 3),
            "identity_kept": round(sum(g.identity_kept for g in grades) / count, 3),
            "consistent": round(sum(g.consistent for g in grades) / count, 3),
            "distance": round(sum(g.distance for g in grades) / count, 3),
            "lost": dict(lost),
        }
    return report


def summary(report: dict[str, dict[str, float]]) -> str:
    """One line: family consistent(edit/identity)."""
    return "  ".join(
        f"{family} {r['consistent']:.2f}({r['edit_done']:.2f}/{r['identity_kept']:.2f}) d{r['distance']:.3f}"
        for family, r in report.items()
    )
