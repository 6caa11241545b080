"""Every family that is discovered keeps the contract of `families/base.py`. A new family adds its builder here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from families import painters, tiny, tinyflux
from families.tiny import use
from whichlora import registry
from whichlora.errors import RefusedError, UserError
from whichlora.families._flux.places import linear_shapes
from whichlora.types import Candidate, SamplerProfile


def tiny_qwen(root):
    base = tiny.build(root / "base")
    return base, tiny.save_lora(root / "lora.safetensors", tiny.lora_tensors(1)), tiny.SAMPLER


def painter(root):
    sampler = SamplerProfile(num_inference_steps=1, true_cfg_scale=1.0, reference_area_px=64 * 64)
    return (painters.base(root / "base", faces=False), painters.lora(root / "lora.safetensors", lighting=0.3), sampler)


def flux(build):
    def built_flux(root):
        folder = build(root)
        shapes = linear_shapes(str(folder))
        modules = {name: shapes[name] for name in shapes if name.endswith("attn.to_q")}
        sampler = SamplerProfile(num_inference_steps=2, true_cfg_scale=2.0, reference_area_px=64 * 64)
        return folder, tinyflux.save(root / "lora.safetensors", tinyflux.pairs(1, modules)), sampler

    return built_flux


BUILDERS = {"qwen_image_edit": tiny_qwen, "painter": painter, "flux_kontext": flux(tinyflux.kontext),
            "flux2": flux(tinyflux.klein)}
PROMPT = "relight with warm sunset light"


@pytest.fixture(scope="module", params=registry.names("families"))
def built(request, tmp_path_factory):
    name = request.param
    assert name in BUILDERS, f"the family '{name}' has no builder in this file"
    folder, lora, sampler = BUILDERS[name](tmp_path_factory.mktemp(name))
    family = registry.load("families", name)
    assert family.name == name
    return family, folder, lora, sampler


def picture_of(session, row, prompt, images, seed=3):
    session.switch(row)
    negative = prompt if row.sampler.true_cfg_scale > 1 else None
    return session.decode(session.denoise(prompt, negative, images, row.sampler, seed))


def test_a_whole_visit(built):
    family, folder, lora, sampler = built
    base = family.identify(str(folder), {})
    assert base.family == family.name
    assert family.identify(base.location, dict(base.options)) == base
    assert isinstance(family.default_sampler(base), SamplerProfile)
    session = family.load(base, "cpu")
    assert set(session.libraries()) == set(family.library_names)
    source = tiny.picture(1, 80, 64)
    prompt = session.encode_prompt(PROMPT, [source], sampler)
    images = [session.encode_image(source, sampler)]
    trip = session.round_trip(source, sampler)
    session.release_encoders()
    plain, with_lora = Candidate("base", sampler=sampler, role="base"), Candidate("l", (use(lora),), sampler=sampler)
    session.reset_peak_memory()
    first = picture_of(session, plain, prompt, images)
    assert first.dtype == np.uint8
    assert first.shape == trip.shape == (*session.output_size(source, sampler), 3)
    assert session.peak_memory_bytes() > 1e6
    changed = picture_of(session, with_lora, prompt, images)
    assert not np.array_equal(first, changed)
    np.testing.assert_array_equal(picture_of(session, plain, prompt, images), first)
    np.testing.assert_array_equal(picture_of(session, with_lora, prompt, images), changed)


def test_switch_reports_and_probe(built, tmp_path):
    family, folder, lora, sampler = built
    base = family.identify(str(folder), {})
    family.check_file(base, lora)
    session = family.load(base, "cpu")
    row = Candidate("l", (use(lora),), sampler=sampler)
    report = session.switch(row)
    assert report.candidate == "l"
    assert report.modules_in_files == report.modules_changed > 0
    assert session.probe(row) > 1e-3
    assert session.probe(replace(row, adapters=())) == 0.0
    page = tmp_path / "page.safetensors"
    page.write_bytes(b"<!DOCTYPE html><html></html>")
    with pytest.raises(RefusedError):
        family.check_file(base, page)
    with pytest.raises(RefusedError):
        session.switch(replace(row, adapters=(use(page),)))


def test_a_place_without_weights_is_the_users_error(built, tmp_path):
    family = built[0]
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError):
            family.identify(str(place), {})
