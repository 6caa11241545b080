"""`whichlora judge PROJECT`: a vision-language model's second opinion, shown beside the scores; it decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded, progress_console
from whichlora.errors import UnknownNameError, UserError
from whichlora.quoting import quoted

if TYPE_CHECKING:
    from whichlora.cli._more import Measured
    from whichlora.metrics.judge.asking import Pair
    from whichlora.metrics.judge.pairwise import Judge, Question

DOCUMENT, ANSWERS = "judge", "judge-answers"
"""Stored summary, and stored answers of every judge by its fingerprint."""


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="A project that has been run and scored.")],
    model: Annotated[
        Path | None, typer.Option("--model", help="A Qwen2.5-VL folder; the base's own text encoder when left out.")
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option("--adapter", help="An EditScore-style LoRA (PEFT folder) to put on it.")
    ] = None,
    question: Annotated[
        list[str] | None, typer.Option("--question", help="identity, edit or defects; all three when left out.")
    ] = None,
    most: Annotated[
        int, typer.Option("--most", help="Most pairs of pictures; at least one of each candidate.", min=1)
    ] = 60,
    device: Annotated[str, typer.Option("--device", help="auto, cuda, mps or cpu.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Ask about pairs of pictures, each candidate's against the base's."""
    from whichlora.cli._more import open_measured
    from whichlora.cli.stages import require_run_extra
    from whichlora.metrics.judge.opening import find_judge, judge_fingerprint, open_judge
    from whichlora.metrics.judge.qwen import require_adapter

    chosen = questions(question or [])
    require_run_extra()
    with open_measured(folder, device) as measured:
        found = find_judge(measured.base, model)
        if adapter is not None:
            require_adapter(adapter)
        name = found.name + (f" with the adapter {adapter.name}" if adapter is not None else "")
        mark = judge_fingerprint(found, adapter)
        with ExitStack() as stack:
            judge: Judge = _nobody
            if unanswered(measured, mark, chosen, most):
                with progress_console.status(f"loading {name}".replace("[", "\\[")):
                    judge = stack.enter_context(open_judge(found, measured.device, adapter))
            document = judge_project(measured, judge, name, mark, chosen, most)
    if json:
        emit_json("whichlora.judge/1", document)
        return
    for sentence in document["sentences"]:
        answer_console.print(sentence, markup=False)
    for reason in document["why_unscored"]:
        answer_console.print(f"no answer: {reason}", markup=False)
    answer_console.print(f"To see it in the report: whichlora report {quoted(folder)}", markup=False)


def questions(names: Sequence[str]) -> tuple[Question, ...]:
    """The questions of these names; all without any.

    Raises:
        UnknownNameError: There is no such question.
    """
    from whichlora.metrics.judge.pairwise import QUESTIONS

    for name in names:
        if name not in QUESTIONS:
            raise UnknownNameError("question", name, QUESTIONS)
    return tuple(key for key in QUESTIONS if not names or key in names)


def _pairs(measured: Measured, most: int) -> list[Pair]:
    from whichlora.metrics.judge.asking import choose_pairs

    pairs = choose_pairs(measured.plan, measured.store.generations(), most)
    if not pairs:
        raise UserError("There is no pair to ask about: no candidate has a picture that differs from the base's.",
                        fix="Run the candidates first: whichlora evaluate PROJECT")
    return pairs


def unanswered(measured: Measured, mark: str, asked: Sequence[Question], most: int) -> int:
    """How many questions this judge has not been asked yet."""
    from whichlora.metrics.judge.asking import open_again

    known = (measured.store.document(ANSWERS) or {}).get(mark, {})
    return sum(open_again(known.get(pair.key(name))) for pair in _pairs(measured, most) for name in asked)


def judge_project(
    measured: Measured, judge: Judge, name: str, mark: str, asked: Sequence[Question], most: int = 60,
) -> dict[str, Any]:
    """Ask what was not asked yet, sum up and store.

    Args:
        measured: The project.
        judge: Who answers.
        name: Its name, for people.
        mark: Fingerprint under which its answers are kept.
        asked: Questions.
        most: Most pairs.
    """
    from whichlora.analysis.judging import Asked, summarise
    from whichlora.metrics.judge.asking import ask
    from whichlora.run.pictures import photograph_reader

    pairs = _pairs(measured, most)
    store, plan = measured.store, measured.plan
    everybody = store.document(ANSWERS) or {}
    read = photograph_reader(plan, measured.project.workspace.folder)
    with progress_console.status("asking") as status:
        answers = ask(
            judge, pairs, asked, everybody.get(mark, {}), lambda image: _picture(measured, image), read,
            references(measured),
            lambda found: store.add_document(ANSWERS, {**everybody, mark: found}),
            lambda done, total: status.update(f"asked {done} of {total}"),
        )
    listed = [
        Asked(question, pair.row, pair.case.source, pair.cells, answers[pair.key(question)]["outcome"],
              answers[pair.key(question)]["changed"])
        for pair in pairs for question in asked
    ]
    reasons = sorted({answers[pair.key(question)]["reason"] for pair in pairs for question in asked
                      if answers[pair.key(question)]["outcome"] == "unscored"})
    document = {
        **summarise(listed, _gates(measured), _people(measured), name), "fingerprint": mark, "pairs": len(pairs),
        "questions": list(asked), "why_unscored": reasons[:3],
    }
    store.add_document(DOCUMENT, document)
    return document


def references(measured: Measured) -> dict[str, list[str]]:
    """Photograph → a few others of the same character, which help to know who it is."""
    from whichlora.metrics.judge.asking import REFERENCES
    from whichlora.metrics.stage import own_photographs

    own = [item.id for item in own_photographs(measured.plan)]
    return {item.id: [name for name in own if name != item.id][:REFERENCES] for item in measured.plan.sources}


def _picture(measured: Measured, image: str) -> Any:
    import numpy as np
    from PIL import Image

    with Image.open(measured.store.images.path(image), formats=("PNG",)) as opened:
        return np.asarray(opened.convert("RGB"))


def _gates(measured: Measured) -> dict[str, Mapping[str, bool | None]]:
    verdicts = measured.verdicts(measured.plan)
    return {found.cell.id: {str(gate): said for gate, said in found.gates.items()} for found in verdicts}


def _people(measured: Measured) -> dict[tuple[str, str, str], str]:
    """What people answered about pairs: of several answers to one pair the majority, a draw is a tie."""
    from whichlora.review.votes import PairVote, from_row, standing

    sums: dict[tuple[str, str, str], int] = {}
    said = standing([vote for row in measured.store.votes() if (vote := from_row(row)) is not None])
    for vote in said.pairs:
        if isinstance(vote, PairVote) and vote.answer in ("left", "right", "tie"):
            name = "defects" if vote.question == "defect" else vote.question
            first, second = sorted((vote.left, vote.right))
            way = {"left": 1, "right": -1}.get(vote.answer, 0) * (1 if vote.left == first else -1)
            sums[name, first, second] = sums.get((name, first, second), 0) + way
    return {key: "first" if total > 0 else "second" if total < 0 else "tie" for key, total in sums.items()}


def _nobody(shown: Any) -> Any:
    raise AssertionError(f"every question is answered already, but was asked again: {shown.question}")
