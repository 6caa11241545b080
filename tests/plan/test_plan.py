"""Cells have identities: nothing that can change a picture is left out, nothing else matters."""

from dataclasses import replace

import pytest

from whichlora.errors import UserError
from whichlora.plan.candidates import LoraFolder, parse_stack, resolve_candidates
from whichlora.plan.codec import plan_from_json, plan_to_json
from whichlora.plan.matrix import build_cases, build_plan, encodings_needed
from whichlora.suite.loading import parse_suite
from whichlora.suite.templating import render_suite
from whichlora.types import AdapterUse, BaseModel, Candidate, EditCase, SamplerProfile, SourceImage, cell_id

BASE = BaseModel("tiny", "painter", "/somewhere", "f00d", {"device": "cpu"})
CASE = EditCase("one/beach", "one", "beach", "background", "put her on a beach", {"background": "beach"})
LIBRARIES = {"torch": "2.0"}


def identity(base=BASE, candidate=None, case=CASE, sources=("a" * 64,), seed=1, libraries=LIBRARIES):
    return cell_id(base, candidate or row(), case, sources, seed, libraries)


def row(**changes):
    use = AdapterUse("angles", "/x/angles.safetensors", "1" * 64, 0.8)
    return replace(Candidate("angles", (use,)), **changes)


def weight(value):
    return replace(row().adapters[0], weight=value)


@pytest.mark.parametrize(
    "other",
    [
        {"base": replace(BASE, fingerprint="beef")},
        {"base": replace(BASE, options={"device": "cuda"})},
        {"base": replace(BASE, family="qwen_image_edit")},
        {"candidate": row(adapters=(weight(0.9),))},
        {"candidate": row(adapters=(replace(weight(0.8), sha256="2" * 64),))},
        {"candidate": row(combine="merge")},
        {"candidate": row(trigger="sks")},
        {"candidate": row(prompts={"beach": "a beach please"})},
        {"candidate": row(sampler=SamplerProfile(num_inference_steps=8))},
        {"candidate": row(sampler=SamplerProfile(true_cfg_scale=1.0))},
        {"candidate": row(sampler=SamplerProfile(negative_prompt="ugly"))},
        {"candidate": row(sampler=SamplerProfile(scheduler={"shift": 3.0}))},
        {"candidate": row(sampler=SamplerProfile(adapters=(weight(1.0),)))},
        {"candidate": row(sampler=SamplerProfile(reference_area_px=512 * 512))},
        {"case": replace(CASE, prompt="put him on a beach")},
        {"sources": ("b" * 64,)},
        {"seed": 2},
        {"libraries": {"torch": "2.1"}},
    ],
)
def test_whatever_changes_a_picture_changes_the_cell(other):
    assert identity(**other) != identity()


@pytest.mark.parametrize(
    "other",
    [
        {"base": replace(BASE, location="/elsewhere", id="other name")},
        {"candidate": row(name="renamed", licence="mit", card="claims much")},
        {"candidate": row(adapters=(replace(weight(0.8), name="renamed", path="/y/b.safetensors"),))},
        {"candidate": row(sampler=SamplerProfile(name="renamed"))},
        {"candidate": row(prompts={"forest": "another edit's wording"})},
        {"case": replace(CASE, id="uno/beach", target={}, keep=())},
    ],
)
def test_names_and_places_do_not(other):
    assert identity(**other) == identity()


@pytest.fixture
def loras(tmp_path):
    for name, content in [("a", b"A"), ("b", b"B"), ("twin of a", b"A"), ("镜头", b"C")]:
        (tmp_path / f"{name}.safetensors").write_bytes(content)
    return LoraFolder((tmp_path,))


def test_stack_shorthand(loras):
    uses = parse_stack("a.safetensors:0.8 + b.safetensors + 镜头.safetensors:-1.5", loras)
    assert [(use.name, use.weight) for use in uses] == [("a", 0.8), ("b", 1.0), ("镜头", -1.5)]
    assert len({use.sha256 for use in uses}) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("missing.safetensors", "There: a.safetensors"),
        ("a.safetensors:9", "out of range"),
        ("a.safetensors:nan", "not found"),
        ("a.safetensors + a.safetensors:0.5", "twice"),
        ("a.safetensors + ", "not found|not a stack"),
    ],
)
def test_bad_stacks_are_refused(loras, text, words):
    with pytest.raises(UserError, match=words):
        parse_stack(text, loras)


def suite_of(candidates, **extra):
    return parse_suite(render_suite(
        "figure", name="t", base={"location": "x", "family": "painter"}, subject="figure", sources={"count": 2},
        candidates=candidates, **extra,
    ))


def sources(*names):
    return tuple(SourceImage(name, f"refs/{name}.png", name * 16, 128, 128) for name in names)


def plan_of(suite, rows, photos):
    cases, notes = build_cases(suite, photos["sources"], {})
    return build_plan(suite, BASE, rows, photos, cases, LIBRARIES, {"notes": notes})


def test_the_same_file_under_two_names_is_not_counted_twice(loras):
    suite = suite_of([{"name": "a", "loras": "a.safetensors"}, {"name": "copy", "loras": "twin of a.safetensors"},
                      {"name": "half", "loras": "twin of a.safetensors:0.5"}])
    rows, refused = resolve_candidates(suite, SamplerProfile(), loras)
    assert [r.name for r in rows if r.role == "candidate"] == ["a", "half"]
    assert refused[0]["name"] == "copy"
    assert "'a'" in refused[0]["reason"]


def test_a_run_may_begin_with_what_is_there(loras):
    suite = suite_of([{"name": "a", "loras": "a.safetensors"}, {"name": "late", "loras": "late.safetensors"}])
    with pytest.raises(UserError, match=r"late\.safetensors"):
        resolve_candidates(suite, SamplerProfile(), loras)
    rows, refused = resolve_candidates(suite, SamplerProfile(), loras, available=True)
    assert [r.name for r in rows if r.role == "candidate"] == ["a"]
    assert refused[0]["name"] == "late"
    assert "Not there yet" in refused[0]["reason"]
    (loras.folders[0] / "late.safetensors").write_bytes(b"L")
    rows, refused = resolve_candidates(suite, SamplerProfile(), loras, available=True)
    assert [r.name for r in rows if r.role == "candidate"] == ["a", "late"]
    assert not refused


def test_a_distilled_sampler_brings_its_own_base_row(loras):
    suite = suite_of([{"name": "a", "loras": "a.safetensors", "sampler": "fast"}],
                     samplers={"fast": {"num_inference_steps": 4, "true_cfg_scale": 1.0, "loras": "b.safetensors"}})
    rows, _ = resolve_candidates(suite, SamplerProfile(), loras)
    assert [r.name for r in rows if r.role == "base"] == ["base", "base (fast)"]
    assert rows[1].sampler == next(r for r in rows if r.name == "a").sampler


def test_the_design_is_paired(loras):
    suite = suite_of([{"name": "a", "loras": "a.safetensors"}, {"name": "b", "loras": "b.safetensors"}])
    rows, _ = resolve_candidates(suite, SamplerProfile(), loras)
    plan = plan_of(suite, rows, {"sources": sources("mina", "tola"), "impostors": sources("else")})
    asked = {name: {(c.case, c.seed) for c in plan.cells if c.candidate == name} for name in ("base", "a", "b")}
    assert asked["base"] == asked["a"] == asked["b"]
    assert len(asked["base"]) == 2 * len(suite.edits) * len(suite.seeds)
    assert len({c.id for c in plan.cells}) == len(plan.cells)


def test_satisfied_cases_are_left_out_with_a_note(loras):
    suite = suite_of([])
    cases, notes = build_cases(suite, sources("mina", "tola"), {("mina", "beach"): "it already shows a beach"})
    assert "mina/beach" not in {case.id for case in cases}
    assert "tola/beach" in {case.id for case in cases}
    assert "already shows a beach" in notes[0]


def test_own_prompts_are_asked_of_their_lora_and_the_base_only(loras):
    own = {"prompt": "<sks> front view", "target": {"yaw_deg": 0}}
    suite = suite_of([{"name": "a", "loras": "a.safetensors", "own_prompt": own},
                      {"name": "b", "loras": "b.safetensors"}])
    rows, _ = resolve_candidates(suite, SamplerProfile(), loras)
    plan = plan_of(suite, rows, {"sources": sources("mina")})
    assert {c.candidate for c in plan.cells if c.case == "mina/own-a"} == {"base", "a"}


def test_encodings_are_counted_without_double(loras):
    suite = suite_of([{"name": "a", "loras": "a.safetensors"}, {"name": "b", "loras": "b.safetensors",
                                                                "trigger": "sks"}])
    rows, _ = resolve_candidates(suite, SamplerProfile(true_cfg_scale=4.0), loras)
    plan = plan_of(suite, rows, {"sources": sources("mina", "tola")})
    edits = len(suite.edits)
    # Per photograph: each edit with and without the trigger, and one negative prompt.
    assert encodings_needed(plan) == (2 * (2 * edits + 1), 2)


def test_a_plan_survives_the_store(loras):
    suite = suite_of([{"name": "a", "loras": "a.safetensors:0.7", "prompts": {"beach": "海滩"}}])
    rows, _ = resolve_candidates(suite, SamplerProfile(scheduler={"shift": 1.0}), loras)
    plan = plan_of(suite, rows, {"sources": sources("mina"), "calibration": sources("tola")})
    import json

    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan


def test_nothing_to_ask_is_refused(loras):
    suite = suite_of([])
    satisfied = {("mina", edit.name): "done already" for edit in suite.edits}
    cases, _ = build_cases(suite, sources("mina"), satisfied)
    with pytest.raises(UserError, match="No edit is left"):
        build_plan(suite, BASE, [Candidate("base", role="base")], {"sources": sources("mina")}, cases, {}, {})
