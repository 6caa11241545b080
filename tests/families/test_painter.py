"""The weightless family: edits real portraits as asked, by strength and seed, under the same contract."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from skimage import data

from families import painters
from whichlora import registry
from whichlora.errors import RefusedError, UserError
from whichlora.families._painter.instructions import Ask, understand
from whichlora.run.admit import admit, admit_all
from whichlora.types import Candidate, SamplerProfile
from whichlora.vision import faces
from whichlora.vision.pose import pose

FAMILY = registry.load("families", "painter")
IDLE = dict.fromkeys(("camera", "lighting", "background", "expression"), 0.0)
SAMPLER = SamplerProfile(num_inference_steps=1, true_cfg_scale=1.0, reference_area_px=320 * 320)


@pytest.fixture(scope="module")
def portrait():
    return data.astronaut()


@pytest.fixture
def session(tmp_path):
    folder = painters.base(tmp_path / "base", strengths=IDLE)
    return FAMILY.load(FAMILY.identify(str(folder), {}), "cpu")


def made(session, portrait, prompt, *uses, seed=1):
    session.switch(Candidate("x", uses, sampler=SAMPLER))
    sketch = session.encode_image(portrait, SAMPLER)
    return session.decode(session.denoise(session.encode_prompt(prompt, [portrait], SAMPLER), None, [sketch], SAMPLER,
                                          seed))


def test_without_strength_nothing_is_done(session, portrait):
    source = session.decode(session.encode_image(portrait, SAMPLER))
    assert source.shape[:2] == session.output_size(portrait, SAMPLER)
    for prompt in ("rotate the camera left", "warm sunset light", "change the background to a beach", "smile"):
        np.testing.assert_array_equal(made(session, portrait, prompt), source)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_camera_turns_the_way_it_is_asked(session, portrait, tmp_path, side):
    camera = painters.use(painters.lora(tmp_path / "camera.safetensors", camera=1.0))
    before = made(session, portrait, "x")
    after = made(session, portrait, f"Rotate the camera slightly to the {side}.", camera)
    turned = pose(after, faces.find(after)[0]).yaw_deg - pose(before, faces.find(before)[0]).yaw_deg
    assert turned * (1 if side == "right" else -1) > 8
    weak = made(session, portrait, f"Rotate the camera slightly to the {side}.", replace(camera, weight=0.3))
    assert np.abs(weak.astype(int) - before).mean() < np.abs(after.astype(int) - before).mean()


def test_light_and_background_change_what_they_name(session, portrait, tmp_path):
    both = painters.use(painters.lora(tmp_path / "both.safetensors", lighting=1.0, background=1.0))
    before = made(session, portrait, "x").astype(float)
    warm = made(session, portrait, "Relight with warm sunset light, keep the background", both).astype(float)
    assert (warm[..., 0] - warm[..., 2]).mean() > (before[..., 0] - before[..., 2]).mean() + 20
    beach = made(session, portrait, "Change the background to a beach", both).astype(float)
    face = faces.find(before.astype(np.uint8))[0]
    x, y, w, h = (int(v) for v in face.box)
    assert np.abs(beach - before)[y:y + h, x:x + w].mean() < 3
    assert np.abs(beach - before)[:40, -40:].mean() > 20


def test_damage_makes_somebody_else(session, portrait, tmp_path):
    damaged = painters.use(painters.lora(tmp_path / "damage.safetensors", identity_damage=1.0, expression=0.5))
    kept = painters.use(painters.lora(tmp_path / "kept.safetensors", lighting=1.0))
    source = made(session, portrait, "x")
    mine = faces.embed(source, faces.find(source)[0])

    def far(*uses):
        out = made(session, portrait, "Relight with sunset light", *uses)
        return faces.distance(mine, faces.embed(out, faces.find(out)[0]))

    assert far(kept) < 0.3
    assert far(damaged) > far(kept) + 0.25


def test_the_same_seed_makes_the_same_picture_and_another_another(session, portrait, tmp_path):
    use = painters.use(painters.lora(tmp_path / "a.safetensors", background=1.0))
    prompt = "Change the background to a forest"
    first = made(session, portrait, prompt, use)
    np.testing.assert_array_equal(first, made(session, portrait, prompt, use))
    assert not np.array_equal(first, made(session, portrait, prompt, use, seed=2))


def test_candidates_leave_no_trace_and_stacks_add(session, portrait, tmp_path):
    a = painters.use(painters.lora(tmp_path / "a.safetensors", camera=0.5, lighting=0.5))
    b = painters.use(painters.lora(tmp_path / "b.safetensors", camera=0.4), 0.5)
    alone = made(session, portrait, "rotate the camera left", b)
    made(session, portrait, "rotate the camera left", a)
    np.testing.assert_array_equal(made(session, portrait, "rotate the camera left", b), alone)
    report = session.switch(Candidate("ab", (a, b), sampler=SAMPLER))
    assert report.modules_in_files == report.modules_changed == 3
    assert float(session.weights("painter.camera")[0]) == pytest.approx(0.7)
    session.switch(Candidate("base", sampler=SAMPLER))
    assert session.touched() == ()


def test_the_load_gate_works_on_painters_too(session, tmp_path, monkeypatch):
    good = painters.use(painters.lora(tmp_path / "good.safetensors", camera=0.5))
    idle = painters.use(painters.lora(tmp_path / "idle.safetensors", drift=-0.5))
    rows = [Candidate("base", sampler=SAMPLER, role="base"), Candidate("good", (good,), sampler=SAMPLER),
            Candidate("idle", (idle,), sampler=SAMPLER)]
    admitted, refused = admit_all(session, rows)
    assert [row.name for row in admitted] == ["base", "good"]
    assert "inert" in refused[0]["reason"]
    stock = type(session).switch

    def halved(self, candidate):
        report = stock(self, candidate)
        self._working["camera"] *= 0.5
        return report

    monkeypatch.setattr(type(session), "switch", halved)
    with pytest.raises(RefusedError, match=r"painter\.camera"):
        admit(session, rows[1])


@pytest.mark.parametrize(("tensors", "message"), [
    ({"transformer.transformer_blocks.0.attn.to_q.lora_A.weight": np.ones((4, 8), np.float32)}, "another model"),
    ({"painter.camera": np.ones((2, 2), np.float32)}, "shape"),
    ({"painter.camera": np.array([np.nan], np.float32)}, "nan"),
    ({"painter.camera": np.array([7.0], np.float32)}, "7.0"),
    ({"painter.camera": np.array([0.0], np.float32)}, "zero"),
    ({"painter.dance": np.array([1.0], np.float32)}, "dance"),
])
def test_foreign_files_are_refused(tmp_path, tensors, message):
    from safetensors.numpy import save_file

    path = tmp_path / "bad.safetensors"
    save_file(tensors, path)
    folder = painters.base(tmp_path / "base")
    with pytest.raises(RefusedError, match=message):
        FAMILY.check_file(FAMILY.identify(str(folder), {}), path)


@pytest.mark.parametrize(("text", "message"), [
    (None, "no painter"), ("{", "JSON"), ("[]", "object"), ('{"strengths": {"camra": 1}}', "camra"),
    ('{"color": 1}', "color"),
])
def test_folders_that_are_no_painter_are_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "painter.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        FAMILY.identify(str(tmp_path), {})


def test_identity_follows_strengths_and_not_names(tmp_path):
    one = FAMILY.identify(str(painters.base(tmp_path / "a", strengths={"camera": 0.5})), {})
    two = FAMILY.identify(str(painters.base(tmp_path / "b", strengths={"camera": 0.5})), {})
    other = FAMILY.identify(str(painters.base(tmp_path / "c", strengths={"camera": 0.6})), {})
    assert one.fingerprint == two.fingerprint != other.fingerprint


@pytest.mark.parametrize(("text", "asks"), [
    ("turn the camera 45 degrees to the left, keep the background", (Ask("camera", "yaw", -45.0),)),
    ("Show the same person in profile, seen from the right.", (Ask("camera", "yaw", 75.0),)),
    ("Move the camera higher and look down", (Ask("camera", "pitch", 20.0),)),
    ("镜头向右旋转45度", (Ask("camera", "yaw", 45.0),)),
    ("Relight with soft even studio light", (Ask("lighting", "studio"),)),
    ("Change the background to a plain grey photo studio, keep the light", (Ask("background", "studio"),)),
    ("put her on a sunny beach and make her smile", (Ask("background", "beach"), Ask("expression", "smile"))),
    ("hello", ()),
])
def test_instructions_are_understood(text, asks):
    assert understand(text) == asks


def test_the_painter_needs_no_torch(tmp_path):
    import subprocess

    folder = painters.base(tmp_path / "base")
    code = (
        "import sys, numpy as np\nfrom whichlora import registry\nf = registry.load('families', 'painter')\n"
        f"b = f.identify({str(folder)!r}, {{}})\ns = f.load(b, 'cpu')\np = f.default_sampler(b)\n"
        "i = s.encode_image(np.zeros((64, 64, 3), np.uint8), p)\n"
        "s.decode(s.denoise(s.encode_prompt('smile', [], p), None, [i], p, 1))\n"
        "import whichlora.run.admit\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
