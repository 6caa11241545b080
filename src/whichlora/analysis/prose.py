"""All sentences of findings in one list, for whoever checks them. Does not change or judge them."""

from __future__ import annotations

from whichlora.findings import Findings


def texts(findings: Findings) -> list[str]:
    """Every sentence that the analysis wrote, in reading order; notes of the plan are among the limits."""
    told = findings.recommendation
    found = [told.sentence, *told.rationale, *told.flip, told.next_step, *told.roadmap]
    for option in told.options:
        found += [option.title, *option.pros, *option.cons, option.hours, option.complexity]
    for row in findings.candidates:
        found += [*row.strengths, *row.weaknesses]
    found += list(findings.limits)
    for entry in findings.questions:
        found += [entry["question"], entry["default"], entry["reason"]]
    if findings.against:
        found += list(findings.against.sentences)
    return [text for text in found if text]
