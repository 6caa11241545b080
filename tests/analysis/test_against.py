"""This project against an earlier one: planted improvements are found, luck is not, other settings are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.small_worlds import FAMILIES, world
from whichlora.analysis.against import Project, compare, differences
from whichlora.analysis.analyse import analyse
from whichlora.analysis.lint import lint_all
from whichlora.analysis.prose import texts
from whichlora.analysis.settings import Settings
from whichlora.analysis.simulate import project_of
from whichlora.errors import UserError
from whichlora.findings import findings_from_json, to_json
from whichlora.types import SamplerProfile, SourceImage

BEFORE = {"base": (0.5,) * 4, "mine": (0.45,) * 4}
AFTER = {"base": (0.5,) * 4, "mine": (0.85, 0.85, 0.85, 0.45)}


def project(rows, seed, photos=16):
    plan, generations, scores = project_of(world(rows, photos=photos, seeds=1), np.random.default_rng(seed))
    named = [replace(made, image=f"{made.image}-{seed}") for made in generations]
    return Project(plan, {made.cell: made for made in named}, scores, "Undecided, leaning to nothing.")


def told(old, new):
    return analyse(new.plan, list(new.generations.values()), new.scores, settings=Settings(draws=200), earlier=old)


def change(found, row, capability):
    return next(c for c in found.changes if (c.row, c.capability) == (row, capability))


def test_a_planted_improvement_is_shown_where_it_is():
    found = told(project(BEFORE, 1), project(AFTER, 2))
    against = found.against
    overall = change(against, "mine", "overall")
    assert overall.better
    assert overall.difference.low < 0.3 < overall.difference.high
    assert overall.now - overall.then == pytest.approx(overall.difference.value)
    assert any(change(against, "mine", name).better for name in ("camera", "lighting", "background"))
    assert not change(against, "mine", "expression").better
    assert not any(c.better or c.worse for c in against.changes if c.row == "base")
    assert any("shown gain" in line for line in against.sentences)
    assert against.before == "Undecided, leaning to nothing."
    assert lint_all(texts(found), found) == ()
    assert findings_from_json(json.loads(json.dumps(to_json(found)))).against == against


def test_the_other_way_round_it_is_a_loss():
    found = told(project(AFTER, 2), project(BEFORE, 1))
    assert change(found.against, "mine", "overall").worse
    assert any("shown loss" in line for line in found.against.sentences)
    assert lint_all(texts(found), found) == ()


def test_luck_alone_is_not_called_a_change():
    claims = 0
    for seed in range(30):
        found = compare(project(BEFORE, 100 + seed, photos=10), project(BEFORE, 200 + seed, photos=10))
        claims += any(c.better or c.worse for c in found.changes)
    assert claims <= 4  # 5 % of 30 are 1.5; 5 or more have a chance of 1 in 60


def test_few_photographs_show_nothing_and_say_so():
    found = told(project(BEFORE, 1, photos=4), project({"base": (0.5,) * 4, "mine": (0.99,) * 4}, 2, photos=4))
    assert not any(c.better for c in found.against.changes)
    assert "no change can be shown" in found.against.sentences[0]


def test_the_figures_by_hand():
    """Two photographs, one family: from 0 and 1 of 2 to 2 of 2 each."""
    rows = world({"base": (0.5,) * 4}, photos=2, seeds=1)
    one = replace(rows, rates={"base": {"camera": 0.5}})
    plan, generations, scores = project_of(one, np.random.default_rng(0))
    made = {g.cell: g for g in generations}

    def graded(passes):
        good = dict(zip([cell.id for cell in plan.cells], map(bool, passes), strict=True))
        return [replace(s, passed=good[s.cell]) if s.gate == "edit" else replace(s, passed=True) if s.gate else s
                for s in scores]

    old, new = Project(plan, made, graded([0, 0, 1, 0])), Project(plan, made, graded([1, 1, 1, 1]))
    overall = change(compare(old, new), "base", "overall")
    assert (overall.then, overall.now) == (0.25, 1.0)
    assert overall.difference.value == 0.75
    assert overall.difference.photos == 2


def test_what_could_not_be_scored_counts_against_a_claim():
    old, new = project(BEFORE, 1), project(AFTER, 2)
    edits = {case.id for case in new.plan.cases if case.edit.endswith("-1")}
    silent = {cell.id for cell in new.plan.cells if cell.candidate == "mine" and cell.case in edits}
    scores = [replace(s, passed=None, value=None, reason="not measured") if s.cell in silent and s.gate == "edit" else s
              for s in new.scores]
    found = compare(old, replace(new, scores=scores))
    assert found.left_out > 0
    assert not change(found, "mine", "overall").better
    assert change(compare(old, new), "mine", "overall").better


def test_pictures_that_are_the_same_files_are_called_unchanged():
    old = project(BEFORE, 1)
    found = told(old, old)
    assert set(compare(old, old).same) == {"base", "mine"}
    assert any("very same files" in line for line in found.against.sentences)
    assert not any(c.better or c.worse for c in found.against.changes)


def twisted(given, **plan):
    return replace(given, plan=replace(given.plan, **plan))


@pytest.mark.parametrize(("what", "twist"), [
    ("base model", lambda p: twisted(p, base=replace(p.plan.base, fingerprint="other"))),
    ("option 'dtype'", lambda p: twisted(p, base=replace(p.plan.base, options={"dtype": "fp8"}))),
    ("kind of subject", lambda p: twisted(p, subject="drawn")),
    ("photographs differ (0 only then, 1 only now)",
     lambda p: twisted(p, sources=(*p.plan.sources, SourceImage("x", "x", "x", 1, 1)))),
    ("calibration photographs", lambda p: twisted(p, calibration=(SourceImage("x", "x", "x", 1, 1),))),
    ("photographs of others", lambda p: twisted(p, impostors=(SourceImage("x", "x", "x", 1, 1),))),
    ("recognisers of identity differ (none then, arcface, dinov2 now)",
     lambda p: twisted(p, identity_packs=("dinov2", "arcface"))),
    ("metric identity/figure differs (version 1 then, 2 now)", lambda p: replace(
        p, scores=[replace(s, version=2) if s.metric == "identity/figure" else s for s in p.scores])),
])
def test_other_settings_are_refused_by_name(what, twist):
    old = project(BEFORE, 1, photos=3)
    new = project(BEFORE, 2, photos=3)
    assert differences(old, new) == []
    with pytest.raises(UserError) as refusal:
        compare(old, twist(new))
    assert what in refusal.value.message


def test_an_earlier_project_without_scores_is_called_so():
    old, new = project(BEFORE, 1, photos=3), project(BEFORE, 2, photos=3)
    with pytest.raises(UserError, match="cannot be compared: it has no scores yet"):
        compare(replace(old, scores=[]), new)


def test_where_it_ran_is_no_setting():
    old, new = project(BEFORE, 1, photos=3), project(BEFORE, 2, photos=3)
    elsewhere = twisted(new, base=replace(new.plan.base, options={"device": "cuda"}))
    assert differences(old, elsewhere) == []


def test_rows_with_another_sampler_or_instruction_are_left_out_by_name():
    old, new = project({**BEFORE, "gone": (0.5,) * 4}, 1, photos=3), project(BEFORE, 2, photos=3)
    rows = tuple(
        replace(row, sampler=replace(SamplerProfile(), num_inference_steps=8)) if row.name == "mine" else row
        for row in new.plan.candidates
    )
    found = compare(old, twisted(new, candidates=rows))
    assert {c.row for c in found.changes} == {"base"}
    assert "num_inference_steps differs (40 then, 8 now)" in found.refused[0]["reason"]
    triggered = tuple(replace(row, trigger="ohwx") if row.name == "mine" else row for row in new.plan.candidates)
    reasons = {row["name"]: row["reason"] for row in compare(old, twisted(new, candidates=triggered)).refused}
    assert "no photograph, instruction and seed is common" in reasons["mine"]


def test_nothing_in_common_is_refused():
    old, new = project(BEFORE, 1, photos=3), project(BEFORE, 2, photos=3)
    cases = tuple(replace(case, prompt="Another instruction.") for case in new.plan.cases)
    with pytest.raises(UserError, match="no row that can be compared"):
        compare(old, twisted(new, cases=cases))


def test_pairs_are_matched_by_picture_and_words_and_not_by_name():
    old = project(BEFORE, 1, photos=6)
    renamed = {source.id: f"renamed-{source.id}" for source in old.plan.sources}
    new = twisted(
        old, sources=tuple(replace(s, id=renamed[s.id]) for s in reversed(old.plan.sources)),
        cases=tuple(replace(case, source=renamed[case.source], edit=f"e-{case.edit}") for case in old.plan.cases),
    )
    found = compare(old, new)
    assert found.pairs == 2 * 6 * len(FAMILIES) * 2
    assert all(c.difference.value == 0 for c in found.changes)
