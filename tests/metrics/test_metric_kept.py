"""Preservation and drift against independent references, and on ladders of damage."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.photos import astronaut, blend, blur, hue, new_background, noisy, portrait, vae_like, view, warp
from whichlora.metrics.drift import colour, zoom
from whichlora.metrics.preservation import lpips, psnr, ssim

SOURCE = portrait("president-smiling")
RELIT = ("identity", "clothes")


def kept_view(output, family="camera"):
    return view(SOURCE, output, family, ("identity", "background"), yaw_deg=45)


def test_psnr_agrees_with_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio

    for sigma in (1, 5, 20):
        damaged = noisy(SOURCE, sigma)
        assert psnr.psnr(SOURCE, damaged) == pytest.approx(peak_signal_noise_ratio(SOURCE, damaged), abs=1e-6)
        part = np.zeros(SOURCE.shape[:2], bool)
        part[40:200, 60:] = True
        expected = peak_signal_noise_ratio(SOURCE[part], damaged[part])
        assert psnr.psnr(SOURCE, damaged, part) == pytest.approx(expected, abs=1e-6)
    assert psnr.psnr(SOURCE, SOURCE) == psnr.BEST_DB
    with pytest.raises(ValueError, match="0 values"):
        psnr.psnr(SOURCE, SOURCE, np.zeros(SOURCE.shape[:2], bool))


def test_ssim_agrees_with_scikit_image():
    from skimage.metrics import structural_similarity

    for damaged in (noisy(SOURCE, 8), blur(SOURCE, 2), hue(SOURCE, 40)):
        theirs = structural_similarity(SOURCE, damaged, channel_axis=2, gaussian_weights=True, sigma=1.5,
                                       use_sample_covariance=False, data_range=255, full=True)[1].mean(-1)
        ours = ssim.ssim_map(SOURCE, damaged)
        inner = (slice(8, -8), slice(8, -8))
        assert np.abs(ours[inner] - theirs[inner]).max() < 2e-3


@pytest.mark.slow
def test_ssim_and_psnr_agree_with_torchmetrics():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.image")
    damaged = noisy(SOURCE, 10)
    ours, theirs = (torch.from_numpy(item.copy()).permute(2, 0, 1)[None].double() for item in (SOURCE, damaged))
    reference = functional.structural_similarity_index_measure(ours, theirs, data_range=255.0, return_full_image=True)
    image = reference[1][0].numpy().mean(0)
    inner = (slice(10, -10), slice(10, -10))
    assert ssim.ssim_map(SOURCE, damaged)[inner].mean() == pytest.approx(image[inner].mean(), abs=1e-3)
    db = functional.peak_signal_noise_ratio(ours, theirs, data_range=255.0)
    assert psnr.psnr(SOURCE, damaged) == pytest.approx(float(db), abs=1e-4)


@pytest.mark.parametrize("metric", [psnr, ssim, lpips], ids=["psnr", "ssim", "lpips"])
@pytest.mark.parametrize("damage", [blur, noisy, lambda p, s: blend(p, np.full_like(p, 60), s / 12)],
                         ids=["blur", "noise", "fade"])
def test_more_damage_is_never_better(metric, damage):
    values = [metric.measure(kept_view(damage(SOURCE, amount)), "photograph").value for amount in (0, 1, 2, 4, 8)]
    better = metric.PLUGIN.better
    assert values == sorted(values, reverse=better == "higher")
    assert values[0] in (psnr.BEST_DB, pytest.approx(1.0), pytest.approx(0.0, abs=1e-5))


@pytest.mark.parametrize("scale", [1.005, 1.01, 1.02, 1.05])
def test_a_zoom_is_not_charged_twice(scale):
    """The drift is told by drift/zoom; what was kept is judged as if it had not happened."""
    still = psnr.measure(kept_view(noisy(SOURCE, 3)), "photograph").value
    zoomed = psnr.measure(kept_view(noisy(warp(SOURCE, scale, 2, -1), 3)), "photograph").value
    assert zoomed > still - 1
    told = zoom.measure(kept_view(noisy(warp(SOURCE, scale, 2, -1), 3)), "photograph")
    assert told.detail["scale"] == pytest.approx(scale, abs=1e-3)
    assert told.detail["dx_px"] == pytest.approx(2, abs=0.2)
    assert told.detail["dy_px"] == pytest.approx(-1, abs=0.2)


def test_drift_grows_with_zoom_and_is_zero_without():
    zooms = (1, 1.005, 1.01, 1.02, 1.05)
    values = [zoom.measure(kept_view(warp(SOURCE, scale)), "photograph").value for scale in zooms]
    assert values == sorted(values)
    assert values[0] < 0.02
    assert values[-1] == pytest.approx(2.5, abs=0.1)  # 5 % zoom moves a corner by 5 % of half the diagonal


def test_drift_says_when_it_cannot_tell():
    blank = np.full_like(SOURCE, 80)
    result = zoom.measure(kept_view(blank), "photograph")
    assert result.value is None
    assert result.reason.startswith("not measured")
    moved = view(SOURCE, SOURCE, "camera", ("identity",), yaw_deg=45)
    assert zoom.measure(moved, "photograph").reason.startswith("not applicable")


def test_a_background_edit_is_judged_on_the_subject():
    other = view(SOURCE, new_background(SOURCE, (60, 110, 45)), "background", background="forest")
    result = psnr.measure(other, "photograph")
    assert result.detail["of"] == "subject"
    assert result.value > 35
    ruined = view(SOURCE, new_background(noisy(blur(SOURCE, 4), 15), (60, 110, 45)), "background", background="forest")
    assert psnr.measure(ruined, "photograph").value < result.value - 8


def test_an_expression_edit_is_judged_around_the_face():
    from metrics.photos import face_onto

    changed = face_onto(SOURCE, portrait("president-standing"))
    result = psnr.measure(view(SOURCE, changed, "expression", expression="neutral"), "photograph")
    assert result.detail["of"] == "everything but the face"
    assert result.value > 40


def test_relighting_and_free_camera_moves_have_nothing_to_keep():
    for family, keep, target in (("lighting", RELIT, {"light": "sunset"}), ("camera", RELIT, {"yaw_deg": 45})):
        for metric in (psnr, ssim, lpips, colour):
            result = metric.measure(view(SOURCE, SOURCE, family, keep, **target), "photograph")
            assert result.reason.startswith("not applicable")


def test_without_a_person_the_regions_are_unknown():
    thing = np.ascontiguousarray(astronaut()[300:, 300:])
    result = ssim.measure(view(thing, thing, yaw_deg=45), "photograph")
    assert result.value is None


def test_colour_drift_is_recovered():
    greener = np.clip(SOURCE.astype(int) + np.array([0, 12, 0]), 0, 255).astype(np.uint8)
    result = colour.measure(kept_view(greener), "photograph")
    assert result.value > 3
    assert result.detail["red_shift"] < -2
    faded = blend(SOURCE, np.repeat(SOURCE.mean(-1, keepdims=True), 3, -1).astype(np.uint8), 0.5)
    assert colour.measure(kept_view(faded), "photograph").detail["chroma_ratio"] == pytest.approx(0.5, abs=0.12)
    assert colour.measure(kept_view(vae_like(SOURCE)), "photograph").value < 1.5


def test_hue_ladder_is_monotone():
    values = [colour.measure(kept_view(hue(SOURCE, degrees)), "photograph").value for degrees in (0, 10, 20, 40, 80)]
    assert values == sorted(values)
    assert values[0] < 0.5  # the 8-bit hue wheel rounds
