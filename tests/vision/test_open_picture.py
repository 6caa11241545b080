"""Opening hostile and ordinary files; remembering results without mixing pictures up."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from whichlora.errors import PhotoError
from whichlora.vision.picture import digest, frozen, open_picture, open_with_text, remembered, resized


def save(path, size=(64, 48), mode="RGB", **options):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return pixels


def test_a_png_comes_back_exactly(tmp_path):
    pixels = save(tmp_path / "a.png")
    assert np.array_equal(open_picture(tmp_path / "a.png"), pixels)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90° clockwise to show
    pixels = save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(open_picture(tmp_path / "a.png"), np.rot90(pixels, -1))


def test_transparency_is_laid_on_white(tmp_path):
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert (open_picture(tmp_path / "a.png") == 255).all()


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    picture = open_picture(tmp_path / "a.png")
    assert picture.min() == 0
    assert picture.max() == 255
    assert len(np.unique(picture)) > 200


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"x" * 40, b"\xff\xd8\xff\xe0" + b"\0" * 30])
def test_damaged_files_are_one_clear_sentence(tmp_path, content):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(PhotoError) as caught:
        open_picture(path)
    assert "bad.png" in caught.value.message
    assert caught.value.fix
    assert caught.value.exit_status == 2


def test_a_truncated_picture_is_refused(tmp_path):
    save(tmp_path / "a.png", size=(200, 200))
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PhotoError, match="cannot be read"):
        open_picture(tmp_path / "a.png")


@pytest.mark.parametrize("ending", ["gif", "bmp", "tiff", "ico"])
def test_other_formats_are_not_even_opened(tmp_path, ending):
    save(tmp_path / f"a.{ending}")
    with pytest.raises(PhotoError, match="not a PNG, JPEG or WebP"):
        open_picture(tmp_path / f"a.{ending}")


def test_huge_pictures_are_refused_before_decoding(tmp_path):
    save(tmp_path / "a.png", size=(400, 300))
    with pytest.raises(PhotoError, match="megapixels"):
        open_picture(tmp_path / "a.png", max_pixels=100_000)


def test_a_bomb_is_refused(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(PhotoError):
        open_picture(tmp_path / "bomb.png")


def test_missing_and_folder(tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(PhotoError, match="no picture at"):
            open_picture(path)


def test_text_chunks_are_read(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("parameters", "a cat\nSteps: 4")
    save(tmp_path / "a.png", pnginfo=info)
    assert open_with_text(tmp_path / "a.png")[1]["parameters"] == "a cat\nSteps: 4"


def test_results_follow_contents_and_not_objects():
    calls = []

    @remembered(4)
    def mean(picture):
        calls.append(1)
        return float(picture.mean())

    a = np.zeros((8, 8, 3), np.uint8)
    assert mean(a) == 0
    assert mean(a.copy()) == 0
    assert len(calls) == 1
    a[:] = 9  # the same object with other pixels must not get the old answer
    assert mean(a) == 9
    assert len(calls) == 2


def test_frozen_cuts_the_tie_to_the_original():
    a = np.zeros((8, 8, 3), np.uint8)
    held = frozen(a)
    before = digest(held)
    a[:] = 1
    assert held.max() == 0
    assert digest(held) == before
    with pytest.raises(ValueError):
        held[0, 0] = 1
    window = held[:4]  # a read-only view of another array is no owner and is copied
    assert frozen(window).base is None


def test_shapes_enter_the_digest():
    assert digest(np.zeros((4, 8, 3), np.uint8)) != digest(np.zeros((8, 4, 3), np.uint8))


def test_resizing_keeps_the_mean():
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    assert abs(resized(pixels, 45, 35).mean() - pixels.mean()) < 1
