"""What is said while nothing is known of something that the answer hangs on.

Does: word rows without a single answer, must-haves that no metric could tell, a comparison of the base with nobody, and
limits that even the base breaks. Does not: decide (`decide.py` does), or repeat why a picture failed.
"""

from __future__ import annotations

from whichlora.analysis.decide import all_barred, untried
from whichlora.analysis.ledger import Ledger
from whichlora.analysis.outcome import Outcome
from whichlora.analysis.phrases import listed
from whichlora.findings import CandidateFacts

NAMED = 3
"""Rows told one by one; more are counted."""


def verdict(found: Outcome, ledger: Ledger, target: str) -> str:
    """The verdict sentence where nothing can be decided at all, '' elsewhere."""
    if not found.contenders:
        return ledger.say(f"Undecided: {_nothing(found, ledger)}.")
    if found.row.firm:
        return ""
    if all_barred(found.contenders):
        over = listed(_broken_limits(found))
        return ledger.say(
            f"Undecided: every set-up tried is over your limit of {over}, the base model alone included, and a LoRA of "
            "your own would cost as much as the base."
        )
    if untried(found.contenders):
        return _base_alone(found, ledger, target)
    return ""


def _nothing(found: Outcome, ledger: Ledger) -> str:
    rows = [facts for facts in found.facts.values() if facts.role != "control"]
    made, failed = (sum(facts.cells.get(what, 0) for facts in rows) for what in ("done", "failed"))
    if made:
        return (f"nothing has been measured yet; {ledger.put('cells.made', made, 'count')} pictures wait for their "
                "scores")
    if failed:
        return f"no picture could be made ({ledger.put('cells.failed', failed, 'count')} attempts failed)"
    return "nothing has been measured yet"


def _broken_limits(found: Outcome) -> list[str]:
    base = found.base
    return [what for what in ("time", "memory") if base is not None and base.budget.get(what) == "FAIL"]


def _base_alone(found: Outcome, ledger: Ledger, target: str) -> str:
    """The base was compared with nobody."""
    base = found.base
    at = target if target.startswith("the ") else f"the target of {target}"
    states = {name: base.capabilities[name].state for name in found.must if name in base.capabilities} if base else {}
    failed = [name for name, state in states.items() if state == "FAIL"]
    unclear = [name for name in found.must if states.get(name, "OPEN") == "OPEN"]
    said = []
    if base is not None and failed:
        ledger.claim("FAIL", base.name, failed)
        said.append(f"is shown below {at} at {listed(failed)}")
    if unclear:
        said.append(f"is open at {listed(unclear)}")
    return ledger.say(
        f"Undecided: no LoRA was tried. The base model alone {' and '.join(said)}; whether a LoRA would do is not "
        "known."
    )


def known_of_none(found: Outcome, ledger: Ledger) -> str:
    """' Nothing is known of angles: none of its 160 pictures could be made.', to follow a verdict; '' without such."""
    rows = [found.facts[name] for name in found.unmeasured if name in found.facts]
    if not rows:
        return ""
    if len(rows) <= NAMED:
        return "".join(f" Nothing is known of {facts.name}: {_why(facts, ledger)}." for facts in rows)
    more = ledger.put("unmeasured", len(rows), "count")
    return f" Nothing is known of {more} set-ups, {', '.join(facts.name for facts in rows[:NAMED])} among them."


def _why(facts: CandidateFacts, ledger: Ledger) -> str:
    done, failed = facts.cells.get("done", 0), facts.cells.get("failed", 0)
    if done:
        return f"none of its {ledger.put(f'{facts.name}/done', done, 'count')} pictures has a score"
    if failed:
        return f"none of its {ledger.put(f'{facts.name}/failed', failed, 'count')} pictures could be made"
    return "no picture of it has been made yet"


def lines(found: Outcome, ledger: Ledger) -> list[str]:
    """Reasons that name the rows of which nothing is known, each with why; those of a verdict that is not firm too."""
    if not found.contenders:
        return []
    rows = [found.facts[name] for name in found.unmeasured if name in found.facts]
    told = [ledger.say(f"{facts.name} counts neither for nor against: {_why(facts, ledger)}.") for facts in rows]
    base = found.base
    if base is not None and base.name in found.unmeasured and found.row.firm:
        told.append(ledger.say("Whether the base model alone would do as well is not known."))
    return told


def next_step(found: Outcome, ledger: Ledger) -> str:
    """What to do first where more photographs would not help, '' elsewhere. For decisions that are not firm."""
    if not found.contenders:
        return ledger.say(_begin(found))
    if all_barred(found.contenders):
        return ledger.say(
            f"Loosen the limit of {listed(_broken_limits(found))}, or add a set-up that costs less, such as a sampler "
            "of fewer steps with its distilled LoRA."
        )
    if untried(found.contenders):
        return ledger.say("Name LoRAs as candidates (whichlora survey lists what there is), and run again.")
    silent = _silent(found)
    if silent:
        return ledger.say(
            f"No picture could be scored at {listed(silent)}, so more photographs would not settle it: judge the "
            f"pictures by eye (whichlora review), or take {listed(silent)} out of the must-haves."
        )
    if found.unmeasured:
        one = len(found.unmeasured) == 1
        named = listed(found.unmeasured) if len(found.unmeasured) <= NAMED else "those of which nothing is known"
        end = "without {} the answer would be settled" if found.hangs_on_unmeasured else "then decide again"
        return ledger.say(
            f"Have {named} measured first (whichlora run, then whichlora score), or take {'it' if one else 'them'} out "
            f"of the candidates; {end.format('it' if one else 'them')}."
        )
    return ""


def _begin(found: Outcome) -> str:
    rows = [facts for facts in found.facts.values() if facts.role != "control"]
    if any(facts.cells.get("done", 0) for facts in rows):
        return "Score the pictures (whichlora score), then report again."
    if any(facts.cells.get("failed", 0) for facts in rows):
        return (
            "Read under the failures why pictures could not be made, mend it (whichlora doctor names the usual "
            "causes), and run again."
        )
    return "Make the pictures (whichlora run) and score them (whichlora score), then report again."


def _silent(found: Outcome) -> list[str]:
    """Must-haves at which no picture of any set-up has an answer."""
    rows = [facts for facts in found.facts.values() if facts.role != "control" and facts.name not in found.unmeasured]
    return [
        name for name in found.must
        if all(name not in facts.capabilities or facts.capabilities[name].rate.value is None for facts in rows)
    ]
