"""`whichlora masks PROJECT ROW --prompt …`: do a segmentation LoRA's masks make the metrics better?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from whichlora.cli.output import answer_console, emit_json, guarded
from whichlora.errors import ProjectError
from whichlora.quoting import quoted

if TYPE_CHECKING:
    from whichlora.analysis.masking import MaskResult
    from whichlora.cli._more import Measured
    from whichlora.metrics.base import Picture
    from whichlora.metrics.masked import Masked
    from whichlora.types import Candidate, Cell, Plan, SourceImage

DOCUMENT = "masks"
"""Stored result."""
SAME, OTHER = ("real-pair", "do-nothing"), ("other-person",)
"""Control rows that show the character, and somebody else."""


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="A project that has been run.")],
    row: Annotated[str, typer.Argument(help="The candidate whose LoRA draws masks.")],
    prompt: Annotated[
        str, typer.Option("--prompt", help="What its card asks for.")
    ] = "Segment the person: white on black.",
    most: Annotated[int, typer.Option("--most", help="Most pictures that are compared.", min=8)] = 120,
    device: Annotated[str, typer.Option("--device", help="auto, cuda, mps or cpu.")] = "auto",
    in_process: Annotated[bool, typer.Option("--in-process", help="No worker processes.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Compare metrics under drawn masks with the default masks on the same pictures."""
    from whichlora.cli._more import open_measured
    from whichlora.run.choose import Hiring

    with open_measured(folder, device, Hiring(in_process=in_process)) as measured:
        document = compare_masks(measured, row, prompt, most)
    if json:
        emit_json("whichlora.masks/1", document)
        return
    for sentence in document["sentences"]:
        answer_console.print(sentence, markup=False)
    answer_console.print(f"To see it in the report: whichlora report {quoted(folder)}", markup=False)


def compare_masks(measured: Measured, name: str, prompt: str, most: int = 120) -> dict[str, Any]:
    """Draw masks, measure under both, compare and store.

    Raises:
        ProjectError: No picture is labelled right and none wrong.
    """
    from whichlora.analysis import masking, told
    from whichlora.analysis.ledger import Ledger
    from whichlora.metrics.masked import MEASURES, agreement

    row = measured.row(name)
    labels, chosen = _labelled(measured, most)
    if len({right for _, right in chosen}) < 2:
        raise ProjectError("Nothing says which pictures keep the person and which do not.",
                           fix="Put photographs of others into impostors/, or judge some pictures: "
                               "whichlora review PROJECT")
    plan = _mask_plan(measured, row, prompt, [cell for cell, _ in chosen])
    missing = {cell.id for cell in plan.cells} - measured.store.finished()
    if missing:
        from whichlora.cli.stages import make

        make(measured.maker, plan, None, missing)
    outputs, values = _measured_values(measured, plan, chosen)
    lost = {measure: _lost(measure, values) for measure in MEASURES}
    results = [found for measure in MEASURES
               if (found := _compared(measured, measure, chosen, values, lost[measure])) is not None]
    ledger = Ledger()
    overlap = agreement(outputs)
    coverage = masking.Coverage(
        len(chosen), sum(output.drawn is not None for output in outputs),
        sum(output.default is not None for output in outputs), lost,
    )
    document = {
        "row": name, "labels": labels, "overlap": overlap, **asdict(coverage),
        "results": [{**asdict(found), "helps": found.helps} for found in results],
        "helps": any(found.helps for found in results),
        "sentences": told.masks(results, name, labels, (overlap, coverage), ledger), "bound": told.bound(ledger),
    }
    measured.store.add_document(DOCUMENT, document)
    return document


Values = dict[str, "list[Mapping[str, float | None]]"]


def _measured_values(
    measured: Measured, plan: Plan, chosen: Sequence[tuple[Cell, bool]]
) -> tuple[list[Masked], Values]:
    """Masked pictures, and both measures of every picture under 'drawn' and 'default' masks."""
    from whichlora.metrics.masked import masked, measure_under

    drawings, read = _drawings(measured, plan), _reader(measured, plan)
    kind = measured.plan.subject
    strangers = {item.id for item in measured.plan.impostors}
    references = [(masked(item.id, read(item.id), drawings.get(item.id), kind), item.id not in strangers)
                  for item in _photographs(measured.plan)]
    cases = {case.id: case for case in measured.plan.cases}
    outputs = [masked(cell.id, read(cell.id), drawings.get(cell.id), kind) for cell, _ in chosen]
    pairs: list[tuple[Masked, Masked]] = []
    for (cell, _), output in zip(chosen, outputs, strict=True):
        source = cases[cell.case].source
        picture = _resized(read(source), output.picture.shape[:2])
        pairs.append((masked(source, picture, drawings.get(source), kind), output))
    return outputs, {which: measure_under(which, references, pairs, kind) for which in ("drawn", "default")}


def _lost(measure: str, values: Values) -> int:
    """Pictures that a measure reads under the default mask only."""
    return sum(drawn[measure] is None and default[measure] is not None
               for drawn, default in zip(values["drawn"], values["default"], strict=True))


def _compared(
    measured: Measured, measure: str, chosen: Sequence[tuple[Cell, bool]], values: Values, lost: int
) -> MaskResult | None:
    """One measure under both masks, on the pictures that have both."""
    from whichlora.analysis import masking

    photos = {case.id: case.source for case in measured.plan.cases}
    rows: list[masking.Labelled] = []
    for (cell, right), drawn, default in zip(chosen, values["drawn"], values["default"], strict=True):
        one, other = drawn[measure], default[measure]
        if one is not None and other is not None:
            rows.append(masking.Labelled(photos[cell.case], right, one, other))
    return masking.compare(measure, rows, lost) if rows else None


def _labelled(measured: Measured, most: int) -> tuple[str, list[tuple[Cell, bool]]]:
    """Who labels, and finished pictures with their label: people's votes, else a ground truth, else control rows."""
    store, plan = measured.store, measured.plan
    done = {cell for cell, row in store.generations().items() if row.status == "done"}
    cells = [cell for cell in plan.cells if cell.id in done]
    votes: dict[str, list[bool]] = {}
    truth: dict[str, bool] = {}
    for score in store.scores(context=measured.context):
        if score.rater and score.gate == "identity" and score.passed is not None:
            votes.setdefault(score.cell, []).append(score.passed)
        elif score.metric == "truth/consistent" and "identity_kept" in score.detail:
            truth[score.cell] = bool(score.detail["identity_kept"])
    people = {cell: 2 * sum(said) > len(said) for cell, said in votes.items() if 2 * sum(said) != len(said)}
    for who, known in (("people", people), ("truth", truth)):
        chosen = [(cell, known[cell.id]) for cell in cells if cell.id in known]
        if len({right for _, right in chosen}) == 2:
            return who, _spread(chosen, most)
    controls = {row.name: row.control in SAME for row in plan.candidates if row.control in (*SAME, *OTHER)}
    return "controls", _spread([(cell, controls[cell.candidate]) for cell in cells if cell.candidate in controls], most)


def _spread(chosen: list[tuple[Cell, bool]], most: int) -> list[tuple[Cell, bool]]:
    """At most so many, evenly over the list, half of either label where there are enough."""
    found: list[tuple[Cell, bool]] = []
    for right in (True, False):
        mine = [item for item in chosen if item[1] is right]
        step = max(1.0, len(mine) / (most / 2))
        found += [mine[int(i * step)] for i in range(min(len(mine), int(len(mine) / step)))]
    return found


def _photographs(plan: Plan) -> list[SourceImage]:
    return [item for item in (*plan.sources, *plan.calibration, *plan.impostors) if not item.facts.get("generated")]


def _mask_plan(measured: Measured, row: Candidate, prompt: str, cells: Sequence[Cell]) -> Plan:
    """One mask for every photograph and every chosen picture; pictures go by their hash."""
    from whichlora.types import Cell, EditCase, SourceImage, cell_id

    plan, store = measured.plan, measured.store
    generations = store.generations()
    sources = {item.id: item for item in _photographs(plan)}
    for cell in cells:
        image = generations[cell.id].image
        assert image is not None
        facts = generations[cell.id].facts
        sources[cell.id] = SourceImage(
            cell.id, store.images.path(image).relative_to(store.folder).as_posix(), image,
            int(facts.get("width_px", 0)), int(facts.get("height_px", 0)), {"generated": True},
        )
    drawer = replace(row, prompts={})
    cases = {name: EditCase(f"mask/{name}", name, "mask", "trigger", prompt, {}, ()) for name in sources}
    asked = [
        Cell(cell_id(plan.base, drawer, case, (sources[name].sha256,), 1, plan.libraries), drawer.name, case.id, 1)
        for name, case in cases.items()
    ]
    return replace(plan, candidates=(drawer,), sources=tuple(sources.values()), calibration=(), impostors=(),
                   cases=tuple(cases.values()), cells=tuple(asked), notes=())


def _drawings(measured: Measured, plan: Plan) -> dict[str, Picture]:
    """Drawn pictures by the name of what they were drawn of."""
    from PIL import Image

    generations = measured.store.generations()
    found: dict[str, Picture] = {}
    for cell in plan.cells:
        made = generations.get(cell.id)
        if made is not None and made.image is not None:
            with Image.open(measured.store.images.path(made.image), formats=("PNG",)) as image:
                found[cell.case.removeprefix("mask/")] = np.asarray(image.convert("RGB"))
    return found


def _reader(measured: Measured, plan: Plan) -> Any:
    from whichlora.run.pictures import photograph_reader

    return photograph_reader(plan, measured.project.workspace.folder)


def _resized(picture: Picture, size: tuple[int, ...]) -> Picture:
    from PIL import Image

    if picture.shape[:2] == tuple(size[:2]):
        return picture
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.LANCZOS))
