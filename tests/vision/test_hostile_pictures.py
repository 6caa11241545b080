"""A hundred hostile files: each is a sentence or a picture, none harms this process, and the next picture opens."""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from whichlora.errors import PhotoError
from whichlora.vision import opener
from whichlora.vision.picture import open_picture

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def saved(kind, size=(96, 80), mode="RGB", **options):
    pixels = np.random.default_rng(4).integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, *, extra=b"", data=b"\0", bits=8, colour=2, interlace=0):
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    return SIGNATURE + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def hostile():
    """Name → bytes."""
    files = {}
    draw = np.random.default_rng(8)
    for kind in ("PNG", "JPEG", "WEBP"):
        whole = saved(kind)
        for part in range(1, 9):
            files[f"{kind} cut to {part}/9"] = whole[: len(whole) * part // 9]
        for number in range(9):
            data = bytearray(whole)
            for place in draw.integers(8, len(data), 1 + 3 * number):
                data[place] ^= 1 << int(draw.integers(8))
            files[f"{kind} flipped {number}"] = bytes(data)
    for kind in ("GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", "PCX", "SGI", "DDS", "IM", "JPEG2000", "PDF", "EPS"):
        files[f"a {kind}"] = saved(kind, size=(64, 64))
    beginnings = {
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "psd": b"8BPS\0\1" + bytes(90),
        "heic": b"\0\0\0\x18ftypheic" + bytes(90), "fits": b"SIMPLE  =                    T" + b" " * 2850,
        "ps": b"%!PS-Adobe-3.0 EPSF-3.0\n(x) run", "zip": b"PK\3\4" + bytes(90), "html": b"<html><img src=x onerror=1>",
        "pickle": b"\x80\4cos\nsystem\n(S'true'\ntR.", "elf": b"\x7fELF" + bytes(90), "empty": b"", "one byte": b"\x89",
        "only a signature": SIGNATURE, "jpeg marker": b"\xff\xd8", "webp head": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    }
    files.update({f"begins as {name}": data for name, data in beginnings.items()})
    bomb, frame = zlib.compress(bytes(66_000_000), 1), b"\xff\xc0\0\x11\x08"
    exif, entry = b"Exif\0\0II*\0\x08\0\0\0", b"\x12\x01\x03\0\xff\xff\xff\xff"
    sizes = {"2^31": 2**31 - 1, "30000": 30_000, "8000": 8_000, "1": 1, "0": 0}
    files.update({f"png claims {name}": png(side, side) for name, side in sizes.items()})
    files |= {
        "png claims 1 x 2^31": png(1, 2**31 - 1), "png bad depth": png(64, 64, bits=13),
        "png bad colour": png(64, 64, colour=5), "png interlace 9": png(64, 64, interlace=9),
        "png text bomb": png(64, 64, extra=chunk(b"zTXt", b"Comment\0\0" + bomb)),
        "png itxt bomb": png(64, 64, extra=chunk(b"iTXt", b"parameters\0\1\0\0\0" + bomb)),
        "png profile bomb": png(64, 64, extra=chunk(b"iCCP", b"icc\0\0" + bomb)),
        "png pixel bomb": png(64, 64, data=bytes(9_000_000)),
        "png thousand chunks": png(64, 64, extra=chunk(b"tEXt", b"a\0b") * 5_000),
        "png negative chunk": SIGNATURE + struct.pack(">I", 2**32 - 1) + b"IHDR" + bytes(20),
        "png no end": png(64, 64)[:-12], "png with a zip behind": saved("PNG") + b"PK\3\4" + bytes(500),
        "jpeg claims 65535": saved("JPEG").replace(frame + b"\0\x50\0\x60", frame + b"\xff\xff\xff\xff"),
        "jpeg with html inside": saved("JPEG", comment=b"<script>alert(1)</script>"),
        "jpeg exif loop": saved("JPEG", exif=exif + b"\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"),
        "jpeg exif huge count": saved("JPEG", exif=exif + b"\xff\xff" + entry * 9),
        "webp claims 16383": saved("WEBP", size=(16383, 64))[:200],
        "png of 92 megapixels": png(9600, 9600, data=bytes(1000)),
        "gif inside png name": b"GIF89a" + SIGNATURE,
    }
    return files


def test_a_hundred_hostile_files_are_each_a_sentence_or_a_picture(tmp_path):
    import resource

    good = tmp_path / "good.png"
    good.write_bytes(saved("PNG"))
    right = open_picture(good)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    files, refused, opened = hostile(), {}, []
    for number, (name, data) in enumerate(files.items()):
        path = tmp_path / f"{number}.png"
        path.write_bytes(data)
        try:
            picture = open_picture(path)
            opened.append(name)
            assert picture.dtype == np.uint8
            assert picture.shape[2] == 3
            assert picture.shape[0] * picture.shape[1] <= 80_000_000
        except PhotoError as error:
            refused[path.name] = error
    assert len(files) >= 100
    assert all(name in error.message and error.fix and "Traceback" not in error.message
               for name, error in refused.items())
    assert len(refused) > 70
    assert not [name for name in opened if name.startswith(("a ", "begins", "png claims"))], opened
    assert np.array_equal(open_picture(good), right)
    # Nothing was decoded here: not even the pixels that a bomb was allowed to make.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


ATTEMPTS = {
    "open('/etc/hostname')": "OSError", "open(sys.argv[1], 'w')": "OSError", "socket.socket()": "OSError",
    "os.pipe()": "OSError", "limit.begin(10); mmap.mmap(-1, 300 * 1024**2)": "OSError",
    "limit.begin(10); limit.before_pixels(1_000_000); mmap.mmap(-1, 600 * 1024**2)": "OSError",
    "limit.begin(10); limit.before_pixels(40_000_000); mmap.mmap(-1, 600 * 1024**2)": "fine",
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits; the clock remains")
def test_the_child_can_open_nothing_and_take_only_so_much(tmp_path):
    code = textwrap.dedent("""
        import json, mmap, os, socket, sys
        from whichlora.vision import decoder
        decoder._warm_up()
        limit = decoder._Limits()
        said = {}
        for attempt in json.loads(sys.argv[2]):
            try:
                exec(attempt)
                said[attempt] = "fine"
            except OSError:
                said[attempt] = "OSError"
            limit.end()
        print(json.dumps(said))
    """)
    words = [sys.executable, "-c", code, str(tmp_path / "written"), json.dumps(list(ATTEMPTS))]
    done = subprocess.run(words, capture_output=True, text=True)
    assert json.loads(done.stdout or "{}") == ATTEMPTS, done.stderr
    assert not (tmp_path / "written").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_child_that_hangs_or_dies_costs_one_picture(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(saved("PNG"))
    right = open_picture(path)
    child = opener.OPENER._child
    monkeypatch.setattr(opener, "TIMEOUT_S", 0.3)
    os.kill(child.pid, signal.SIGSTOP)
    with pytest.raises(PhotoError, match="too long"):
        open_picture(path)
    monkeypatch.undo()
    assert child.poll() is not None
    assert np.array_equal(open_picture(path), right)
    os.kill(opener.OPENER._child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, opener.OPENER._child.pid, os.WEXITED | os.WNOWAIT)
    assert np.array_equal(open_picture(path), right)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_forked_process_gets_a_child_of_its_own(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(saved("PNG"))
    right = open_picture(path)
    code = textwrap.dedent("""
        import os, sys
        from whichlora.vision.picture import open_picture
        first = open_picture(sys.argv[1])
        pid = os.fork()
        same = all((open_picture(sys.argv[1]) == first).all() for _ in range(20))
        if pid == 0:
            os._exit(0 if same else 1)
        print(os.waitpid(pid, 0)[1], same)
    """)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["0", "True"], done.stderr
    assert right.shape == (80, 96, 3)


def test_no_token_reaches_the_child(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(saved("PNG"))
    monkeypatch.setenv("HF_TOKEN", "hf_planted")
    fresh = opener.Opener()
    fresh.decode(path.read_bytes(), 10**6)
    environment = Path(f"/proc/{fresh._child.pid}/environ")
    if environment.exists():
        assert b"hf_planted" not in environment.read_bytes()
    fresh.close()


def test_text_of_a_picture_still_arrives(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("parameters", "猫 a cat")
    (tmp_path / "a.png").write_bytes(saved("PNG", pnginfo=info))
    from whichlora.vision.picture import open_with_text

    assert open_with_text(tmp_path / "a.png")[1]["parameters"] == "猫 a cat"
