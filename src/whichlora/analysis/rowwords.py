"""What a row is shown to do well and badly, in template sentences whose figures pass through the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from whichlora.analysis.ledger import Ledger
from whichlora.analysis.phrases import listed, rate_told
from whichlora.findings import CandidateFacts, fault_words


def strengths(facts: CandidateFacts, ledger: Ledger, capabilities: Sequence[str]) -> tuple[str, ...]:
    """What a row is shown to do well."""
    lines = []
    for name in capabilities:
        fact = facts.capabilities.get(name)
        if fact is None or fact.rate.value is None or not (fact.state == "PASS" or fact.better_than_base):
            continue
        said = []
        if fact.state == "PASS":
            ledger.claim("PASS", facts.name, [name])
            said.append("shown to pass")
        if fact.better_than_base:
            ledger.claim("better", facts.name, [name])
            said.append("shown better than base")
        lines.append(ledger.say(f"{name}: {rate_told(f'{facts.name}/{name}', fact.rate, ledger)}, {listed(said)}."))
    return tuple(lines)


def weaknesses(facts: CandidateFacts, ledger: Ledger, capabilities: Sequence[str]) -> tuple[str, ...]:
    """What a row is shown not to do, and what went wrong most often."""
    lines = []
    for name in capabilities:
        fact = facts.capabilities.get(name)
        if fact is None or fact.rate.value is None or not (fact.state == "FAIL" or fact.worse_than_base):
            continue
        said = []
        if fact.state == "FAIL":
            ledger.claim("FAIL", facts.name, [name])
            said.append("shown below the target")
        if fact.worse_than_base:
            ledger.claim("worse", facts.name, [name])
            said.append("shown worse than base")
        lines.append(ledger.say(f"{name}: {rate_told(f'{facts.name}/{name}', fact.rate, ledger)}, {listed(said)}."))
    if facts.screened_out is not None:
        pictures = ledger.put(f"{facts.name}/screened_out", facts.screened_out, "count")
        lines.append(ledger.say(f"Screened out after {pictures} pictures: others were ahead by then."))
    common = sorted(facts.artefacts.items(), key=lambda item: (-item[1], item[0]))[:3]
    made = facts.cells.get("done", 0) + facts.cells.get("failed", 0)
    lines += [
        ledger.say(f"{fault_words(fault)}: {ledger.put(f'{facts.name}/fault/{fault}', count, 'count')} of "
                   f"{ledger.put(f'{facts.name}/attempted', made, 'count')} pictures.")
        for fault, count in common if count
    ]
    return tuple(lines)
