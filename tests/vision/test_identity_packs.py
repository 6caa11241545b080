"""Optional recognisers: installed whole and checked, refused when changed, loaded by the real code."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from hub.client import answer, environment, whichlora
from hub.server import File, Hub, Repo
from metrics.photos import OWN, astronaut, noisy, portrait, scaled
from vision import pack_models
from whichlora.errors import MachineError, UnknownNameError, UserError
from whichlora.vision import faces, packs, recognisers

PINNED = ("face_detection_yunet_2023mar.onnx", "face_recognition_sface_2021dec.onnx")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv(packs.FOLDER_VARIABLE, str(tmp_path / "packs"))
    return tmp_path


def install(home, name, make):
    """Install a pack whose single file `make(path)` writes."""
    file = packs.pack(name).files[0].name
    return packs.install(name, {file: make(home / file)})


def arcface(path):
    return pack_models.embedder(path, 112, 512, "input.1", "683", 14)


def ccip(path):
    return pack_models.embedder(path, 384, 768, "input", "output", 48)


def test_every_pack_names_licence_subject_and_files():
    for name, pack in packs.PACKS.items():
        assert pack.name == name
        assert pack.licence
        assert set(pack.subjects) <= {"photograph", "drawn", "other"}
        assert pack.files
        assert pack.commercial is ("NOT for commercial use" not in pack.licence_line())
        for file in pack.files:
            assert file.sha256 is None or len(file.sha256) == 64
    assert not packs.pack("arcface").commercial
    with pytest.raises(UnknownNameError, match="yunet-sface"):
        packs.pack("yunet-sfac")


def test_nothing_is_used_that_was_not_installed(home):
    face = faces.find(portrait(OWN[0]))[0]
    for name in ("yunet-sface", "auraface", "arcface"):
        with pytest.raises(UserError, match="lacks") as caught:
            recognisers.face_embedding(name, portrait(OWN[0]), face)
        assert f"whichlora packs {name}" in caught.value.fix
    install(home, "arcface", arcface)
    install(home, "ccip", ccip)
    with pytest.raises(UserError, match="faces only"):
        recognisers.subject_embedding("arcface", portrait(OWN[0]))
    with pytest.raises(UserError, match="recognises no faces"):
        recognisers.face_embedding("ccip", portrait(OWN[0]), face)


def test_another_file_than_the_published_one_is_refused(home):
    sources = {}
    for name in PINNED:
        (home / name).write_bytes(b"something else")
        sources[name] = home / name
    with pytest.raises(UserError, match="published"):
        packs.install("yunet-sface", sources)
    assert packs.missing("yunet-sface") == list(PINNED)


def test_a_file_changed_after_the_installation_is_refused(home):
    place = install(home, "auraface", arcface)
    face = faces.find(portrait(OWN[0]))[0]
    recognisers.face_embedding("auraface", portrait(OWN[0]), face)
    data = bytearray((place / "glintr100.onnx").read_bytes())
    data[-1] ^= 1
    (place / "glintr100.onnx").write_bytes(bytes(data))
    with pytest.raises(MachineError, match="changed or damaged"):
        recognisers.face_embedding("auraface", portrait(OWN[0]), face)


def test_a_file_that_nobody_recorded_is_refused(home):
    place = install(home, "auraface", arcface)
    (place / packs.RECORD).unlink()
    with pytest.raises(MachineError, match="Nothing says"):
        packs.file_of("auraface", "glintr100.onnx")


def test_arcface_class_embeddings_do_not_depend_on_size_or_place(home):
    install(home, "arcface", arcface)

    def vector(picture):
        return recognisers.face_embedding("arcface", picture, faces.find(picture)[0])

    picture = portrait(OWN[0])
    shifted = np.ascontiguousarray(np.pad(picture, ((40, 0), (70, 0), (0, 0)), mode="edge"))
    original, other = vector(picture), vector(astronaut())
    assert original.shape == (512,)
    assert np.linalg.norm(original) == pytest.approx(1, abs=1e-5)
    same = [float(original @ vector(item)) for item in (scaled(picture, 480), shifted, noisy(picture, 5))]
    assert min(same) > 0.9
    assert float(original @ other) < min(same) - 0.1


@pytest.fixture
def sface(home, monkeypatch):
    """YuNet and SFace in their published layouts; the pins are set to these files, as no download is possible here."""
    picture = portrait(OWN[0])
    scale = min(1.0, recognisers.YUNET_SIDE_PX / max(picture.shape[:2]))
    face = faces.find(picture)[0]
    planted = (tuple(value * scale for value in face.box), [(x * scale, y * scale) for x, y in face.points])
    made = {
        PINNED[0]: pack_models.yunet(home / PINNED[0], round(picture.shape[0] * scale), round(picture.shape[1] * scale),
                                     [planted]),
        PINNED[1]: pack_models.embedder(home / PINNED[1], 112, 128, "data", "fc1", 14),
    }
    files = tuple(packs.PackFile(name) for name in PINNED)
    pack = packs.PACKS["yunet-sface"]
    changed = packs.Pack(pack.name, pack.title, pack.subjects, pack.licence, True, pack.repo_id, files)
    monkeypatch.setitem(packs.PACKS, "yunet-sface", changed)
    packs.install("yunet-sface", made)
    return picture, face


def test_yunet_and_sface_run_through_opencvs_own_classes(sface):
    picture, face = sface
    vector = recognisers.face_embedding("yunet-sface", picture, face)
    assert vector.shape == (128,)
    brighter = np.clip(picture.astype(int) + 6, 0, 255).astype(np.uint8)
    assert float(vector @ recognisers.face_embedding("yunet-sface", brighter, face)) > 0.97


def test_a_face_that_yunet_does_not_see_is_aligned_by_the_packaged_points(sface):
    picture, face = sface
    elsewhere = faces.Face((1.0, 1.0, 30.0, 30.0), 0.9, face.points)
    through_points = recognisers.face_embedding("yunet-sface", picture, elsewhere)
    assert float(through_points @ recognisers.face_embedding("yunet-sface", picture, face)) > 0.97


def test_drawn_subjects_are_embedded_without_their_background(home):
    install(home, "ccip", ccip)
    from metrics.photos import new_background

    picture = portrait(OWN[0])
    vector = recognisers.subject_embedding("ccip", picture)
    assert vector.shape == (768,)
    moved = new_background(picture, (30, 90, 200))
    raw = float(np.abs(picture.astype(int) - moved).mean())
    assert raw > 10
    assert float(vector @ recognisers.subject_embedding("ccip", moved)) > 0.97
    assert float(vector @ recognisers.subject_embedding("ccip", astronaut())) < 0.9


def test_dinov2_is_loaded_from_its_own_files_only(home):
    folder = pack_models.dinov2(home / "made")
    packs.install("dinov2", {file.name: folder / file.name for file in packs.pack("dinov2").files})
    vector = recognisers.subject_embedding("dinov2", portrait(OWN[0]))
    assert vector.shape == (32,)
    assert float(vector @ recognisers.subject_embedding("dinov2", noisy(portrait(OWN[0]), 2))) > 0.99


def test_a_pack_is_fetched_from_the_hub_verified_and_listed(tmp_path):
    model = ccip(tmp_path / "model.onnx").read_bytes()
    file = "ccip-caformer-24-randaug-pruned/model_feat.onnx"
    with Hub([Repo("deepghs/ccip_onnx", {file: File(model)})]) as hub:
        env = environment(hub, tmp_path, WHICHLORA_PACKS=str(tmp_path / "packs"))
        done = whichlora(["packs", "ccip", "--json"], env, tmp_path)
        assert done.returncode == 0, done.stderr
        listed = {item["name"]: item for item in answer(done)["packs"]}
        assert listed["ccip"]["installed"]
        assert not listed["yunet-sface"]["installed"]
        assert listed["arcface"]["commercial"] is False
        record = json.loads((tmp_path / "packs" / "ccip" / packs.RECORD).read_text(encoding="utf-8"))
        assert set(record["sha256"]) == {"model_feat.onnx"}


@pytest.mark.parametrize(("arguments", "words"), [
    (["packs", "arcface"], "cannot be downloaded"), (["packs", "nothing"], "no identity pack"),
    (["packs", "--from", "."], "needs the name"), (["packs", "ccip", "--from", "missing"], "no folder"),
])
def test_wrong_wishes_are_one_sentence_and_status_two(tmp_path, arguments, words):
    done = whichlora(arguments, environment("http://127.0.0.1:9", tmp_path), tmp_path)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_importing_the_packs_loads_no_heavy_library():
    code = (
        "import sys, whichlora.vision.packs, whichlora.vision.recognisers\n"
        "bad = {'torch', 'transformers', 'onnxruntime', 'cv2'} & set(sys.modules)\nassert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
