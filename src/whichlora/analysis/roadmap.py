"""Steps of the chosen (or leaning) strategy, in order: what to load, how to route, what to train on what.

Does: word them. The figures of a training are stated assumptions to start from, never measurements.
"""

from __future__ import annotations

from collections.abc import Sequence

from whichlora.analysis.ledger import Ledger
from whichlora.analysis.options import WORK_HOURS, hours, learn_from
from whichlora.analysis.outcome import Outcome
from whichlora.analysis.phrases import listed, routes_told

TRAIN = {"rank": 16, "pairs": 200, "steps": 3000, "characters": 30, "swap": 16, "memory": 24}
"""Assumed starting point of a training: rank, pairs of pictures per capability, steps, other characters mixed in,
blocks swapped to main memory, GiB of the card that then suffices."""
PARTS = {
    "custom": {"the data": (8, 30), "training": (8, 24), "comparing": (4, 6)},
    "hybrid": {"the data": (4, 18), "training": (5, 16), "comparing": (3, 6)},
}
"""Assumed shares of `WORK_HOURS`, lowest and highest."""
DATA = {
    "camera": "pairs of one pose seen from two directions, every other thing equal",
    "lighting": "pairs of one photograph under two lights, pose and clothes equal",
    "background": "pairs of one figure before two backgrounds, cut out with care so that the edges are true",
    "expression": "pairs of one head with two expressions, camera and light equal",
    "trigger": "pictures of the trigger's subject with captions that name it",
    "identity": "many pictures of the character from all sides, and of other characters against forgetting",
    "artefacts": "the cleanest pairs only; leave out whatever shows grids, seams or plastic skin",
}


def roadmap(found: Outcome, ledger: Ledger) -> tuple[str, ...]:
    """Steps of the chosen (or leaning) strategy, in order."""
    row = found.row
    if not found.contenders or found.distrust:
        return (ledger.say("Score the matrix and check the control rows, then analyse again."),)
    steps: list[str] = []
    if not row.firm:
        tail = "; the steps below follow the leaning" if row.strategy in WORK_HOURS else ""
        steps.append(f"Settle what is open first (see the next step){tail}.")
    able = [name for name in found.beyond() if _does_all(found, name)]
    if row.strategy in ("custom", "hybrid") and able:
        steps.append(ledger.say(
            f"Before training, weigh whether the limits of time and memory can give way: {listed(able)} "
            f"{'is' if len(able) == 1 else 'are'} over them and would otherwise do."
        ))
    if row.strategy in WORK_HOURS:
        steps.append(f"Set aside the time. {hours(row.strategy, ledger)}{_parts(row.strategy, ledger)}")
    names = [name for name in dict.fromkeys([row.candidate, *row.routes.values()]) if name in found.facts]
    if row.strategy in ("existing", "multi", "hybrid"):
        steps += _install(found, names, ledger)
        if row.routes:
            lead = "Route each kind of edit to its set-up:" if len(set(row.routes.values())) > 1 else "Use"
            steps.append(f"{lead} {routes_told(row.routes)}.")
    if row.strategy in ("custom", "hybrid"):
        steps += _training(found, row.missing or found.must, ledger)
    steps.append(
        "Keep this project as the baseline: after any change of model, LoRA or settings run it again on the same "
        "photographs and compare the two reports."
    )
    return tuple(steps)


def _parts(strategy: str, ledger: Ledger) -> str:
    """' Of these, 8 to 30 for the data, …', '' where there is one kind of work."""
    each = [
        f"{ledger.put(f'assumed.{strategy}/{name}.low', low, 'count')} to "
        f"{ledger.put(f'assumed.{strategy}/{name}.high', high, 'count')} for {name}"
        for name, (low, high) in PARTS.get(strategy, {}).items()
    ]
    return f" {ledger.say(f'Of these, {listed(each)}.')}" if each else ""


def _does_all(found: Outcome, name: str) -> bool:
    """Does a row pass every must-have, limits aside?"""
    facts = found.facts.get(name)
    return facts is not None and all(
        must in facts.capabilities and facts.capabilities[must].state == "PASS" for must in found.must
    )


def _install(found: Outcome, names: Sequence[str], ledger: Ledger) -> list[str]:
    """Files and settings of what is used."""
    steps = []
    for name in names:
        candidate = next((c for c in found.plan.candidates if c.name == name), None)
        if candidate is None:
            continue
        sampler = candidate.sampler
        # A sampler's own LoRA, such as Lightning, is loaded beside those of the row; without it the steps are too few.
        files = listed(
            f"{use.name}{kind} at weight {ledger.put(f'{name}/{key}/{at}', use.weight, 'factor')}"
            for kind, key, uses in (("", "weight", candidate.adapters), (" (for few steps)", "few", sampler.adapters))
            for at, use in enumerate(uses)
        )
        settings = (
            f"{ledger.put(f'{name}/steps', sampler.num_inference_steps, 'count')} steps, guidance "
            f"{ledger.put(f'{name}/guidance', sampler.true_cfg_scale, 'factor')}"
        )
        trigger = f", and put '{candidate.trigger}' before every instruction" if candidate.trigger else ""
        load = f"load {files}" if candidate.adapters or sampler.adapters else "no LoRA"
        steps.append(ledger.say(f"Set up {name}: {load}; {settings}{trigger}."))
    if names:
        steps.append("Take files, hashes, weights and sampler settings from 'whichlora export' with 'setup': it writes "
                     "a ComfyUI workflow and a diffusers script. They stand in findings.json as well.")
    return steps


def _training(found: Outcome, gaps: Sequence[str], ledger: Ledger) -> list[str]:
    """What to train and on what. The figures are assumptions to start from."""
    def start(name: str, unit: str = "count") -> str:
        return ledger.put(f"assumed.train.{name}", TRAIN[name], unit)

    learn = learn_from(found, gaps)
    data = {gap: DATA.get(gap, "pairs of before and after that differ in this alone") for gap in gaps}
    each = "; ".join(f"{gap}, {what}" for gap, what in data.items()) if len(data) > 1 else "".join(data.values())
    text = [ledger.say(f"Train for {listed(gaps)}. Collect about {start('pairs')} examples"
                       f"{' for each' if len(data) > 1 else ''}: {each}.")]
    text.append(ledger.say(
        f"Mix in pairs of {start('characters')} other characters and of the edits that already work, so that the LoRA "
        "does not forget them; hold back a fifth of the photographs for the test."
    ))
    text.append(ledger.say(
        f"Start at rank {start('rank')} on all linear layers of the transformer for about {start('steps')} steps with "
        f"musubi-tuner or ai-toolkit; with {start('swap')} blocks swapped out, fp8 weights fit a card of "
        f"{start('memory', 'card')}. These are starting points, not measurements."
    ))
    if learn:
        text.append(f"Learn from {learn}: of those tried it comes closest at {listed(gaps)}; 'whichlora inspect' "
                    "prints its rank, targets and training metadata.")
    text.append("Accepted pictures of this comparison, with their sources and instructions, can serve as pairs: "
                "'whichlora export' with 'dataset' writes them, with settings for both trainers drawn from surveyed "
                "LoRAs; where those differ from the ones above, take them.")
    text.append(ledger.say("Add every checkpoint worth keeping as a candidate here and compare it on the same cases"
                           f"{_comparing(found, ledger)}."))
    return text


def _comparing(found: Outcome, ledger: Ledger) -> str:
    """', about 1.3 h of generation each': as long as the base took for its pictures; '' where nothing was timed."""
    base = found.base
    if base is None or base.seconds_per_image is None:
        return ""
    took = base.seconds_per_image * base.cells.get("planned", 0) / 3600
    return f", about {ledger.put('compare.hours', took, 'hours')} of generation each"
