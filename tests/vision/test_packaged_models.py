"""The packaged models: complete, licensed, and refused when tampered with."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from importlib.resources import files

import pytest

from whichlora.errors import MachineError
from whichlora.vision import onnx

FOLDER = files("whichlora.models")


def test_every_model_file_is_listed_with_its_hash_and_licence():
    listed = {entry["file"]: entry for entry in onnx.model_facts()}
    present = {item.name for item in FOLDER.iterdir() if item.name.endswith(".onnx")}
    assert present == set(listed)
    for name, entry in listed.items():
        assert hashlib.sha256(FOLDER.joinpath(name).read_bytes()).hexdigest() == entry["sha256"], name
        assert entry["licence_files"], name
        for licence in entry["licence_files"]:
            assert FOLDER.joinpath("LICENSES", licence).is_file(), licence


def test_a_changed_model_is_refused(tmp_path, monkeypatch):
    for item in FOLDER.iterdir():
        if item.name in ("models.json", "person_mask.onnx"):
            (tmp_path / item.name).write_bytes(item.read_bytes())
    data = bytearray((tmp_path / "person_mask.onnx").read_bytes())
    monkeypatch.setattr(onnx, "files", lambda _: tmp_path)
    assert onnx.model_bytes("person_mask.onnx") == bytes(data)
    data[len(data) // 2] ^= 1
    (tmp_path / "person_mask.onnx").write_bytes(bytes(data))
    with pytest.raises(MachineError, match="changed or damaged"):
        onnx.model_bytes("person_mask.onnx")


def test_a_missing_or_unlisted_model_is_said_so(tmp_path, monkeypatch):
    (tmp_path / "models.json").write_text(json.dumps({"models": []}), encoding="utf-8")
    (tmp_path / "stranger.onnx").write_bytes(b"x")
    monkeypatch.setattr(onnx, "files", lambda _: tmp_path)
    for name in ("stranger.onnx", "none.onnx"):
        with pytest.raises(onnx.MissingModelError, match="not part of this installation"):
            onnx.model_bytes(name)


def test_importing_the_wrappers_loads_no_heavy_library():
    code = (
        "import sys, whichlora.vision.faces, whichlora.vision.align, whichlora.vision.figure, whichlora.vision.lpips,"
        " whichlora.vision.mask, whichlora.vision.pose, whichlora.suite.photos\n"
        "bad = {'torch', 'onnxruntime', 'cv2', 'scipy', 'PIL'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
