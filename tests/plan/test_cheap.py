"""The cheaper way: distilled first, then fewer steps, then smaller; its cells are nobody else's."""

from dataclasses import replace

import numpy as np

from whichlora.analysis.simulate import World, project_of
from whichlora.plan.cheap import alike, cheap_plan, cheaper
from whichlora.plan.price import passes
from whichlora.types import AdapterUse, SamplerProfile

FULL = SamplerProfile()
LIGHTNING = replace(FULL, name="lightning", num_inference_steps=8, true_cfg_scale=1.0,
                    adapters=(AdapterUse("lightning", "/x.safetensors", "1" * 64),))


def test_a_distilled_sampler_is_preferred():
    assert cheaper(FULL, [FULL, LIGHTNING]).sampler.adapters == LIGHTNING.adapters
    found = cheaper(FULL, [FULL])
    assert found.sampler.num_inference_steps == 10
    assert found.cost == passes(found.sampler) / passes(FULL) <= 0.34
    few = replace(FULL, num_inference_steps=4, true_cfg_scale=1.0)
    assert cheaper(few, []).sampler.reference_area_px == FULL.reference_area_px // 4
    assert cheaper(replace(few, reference_area_px=256 * 256), []) is None


def test_its_cells_never_meet_those_of_the_plan():
    world = World({"base": {"x": 0.5}, "a": {"x": 0.5}, "b": {"x": 0.5}}, 3, 2, 1)
    plan, _, _ = project_of(world, np.random.default_rng(0))
    steps = [(case.id, 0) for case in plan.cases[:4]]
    other = cheap_plan(plan, ["a", "b"], steps, cheaper(FULL, [LIGHTNING]))
    assert len(other.cells) == 3 * 4
    assert not {cell.id for cell in other.cells} & {cell.id for cell in plan.cells}
    assert all(row.sampler.name == "cheap" for row in other.candidates)
    assert alike(plan) == ["a", "b"]
    odd = replace(plan, candidates=(*plan.candidates[:2], replace(plan.candidates[2], sampler=LIGHTNING)))
    assert alike(odd) == ["a"]
