"""`whichlora merge` and `whichlora inspect A B --overlap` as a user calls them."""

import json

import pytest

from lora import factory, sabotage
from whichlora.cli.main import main
from whichlora.cli.merge import _percent


@pytest.fixture
def files(tmp_path):
    model = tmp_path / "model" / "transformer"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps(factory.TINY), encoding="utf-8")
    for name, seed in (("a", 1), ("镜头 b", 2)):
        drawn = factory.plain(factory.SPELLINGS["kohya"], factory.MODULES, 4, 2.0, seed, factory.gauss)
        factory.write(tmp_path / f"{name}.safetensors", drawn.tensors)
    return tmp_path


def call(capsys, *words):
    status = 0
    try:
        main([*map(str, words)])
    except SystemExit as stop:
        status = stop.code or 0
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


def merge(capsys, folder, *words, out="m.safetensors"):
    return call(capsys, "merge", folder / "a.safetensors", folder / "镜头 b.safetensors", "--model", folder / "model",
                "--out", folder / out, *words)


def test_a_merge_is_written_and_inspects_as_sound(capsys, files):
    status, out, _ = merge(capsys, files, "--method", "ties", "--weights", "1,0.8", "--json")
    assert status == 0
    told = json.loads(out)
    assert told["schema"] == "whichlora.merge/1"
    assert told["recipe"] == "ties/1;density=0.5"
    assert [part["weight"] for part in told["parts"]] == [1.0, 0.8]
    status, out, _ = call(capsys, "inspect", told["path"], "--model", files / "model", "--json")
    assert status == 0
    found = json.loads(out)
    assert found["loads"]
    assert found["sha256"] == told["sha256"]
    assert "ties" in found["metadata"]["whichlora.merge"]


def test_text_says_what_it_is_and_judges_nothing(capsys, files):
    status, out, _ = merge(capsys, files)
    assert status == 0
    assert f"{len(factory.MODULES)} modules" in out
    assert "Compare it by its pictures" in out


@pytest.mark.parametrize(("words", "said"), [
    (("--method", "tie"), "no merge method named 'tie'. Did you mean: ties"),
    (("--weights", "1"), "2 files, but 1 weights"), (("--weights", "1,x"), "no list of numbers"),
    (("--weights", "1,9"), "out of range"), (("--weights", "nan,1"), "nan is out of range"),
    (("--method", "ties", "--density", "0"), "density 0 is out of range"),
    (("--method", "ties", "--density", "nan"), "density nan is out of range"),
    (("--rank", "0"), "rank 0 is out of range"), (("--sign", "best"), "--sign 'best'"),
    (("--format", "int8"), "number format 'int8'"),
    (("--rank", "2"), "--rank has no effect on 'cat'"),
    (("--method", "linear", "--density", "0.3"), "--density has no"),
    (("--method", "ties", "--seed", "1"), "--seed has no"), (("--method", "svd", "--sign", "total"), "--sign has no"),
])
def test_wrong_settings_are_one_sentence(capsys, files, words, said):
    status, out, err = merge(capsys, files, *words)
    assert (status, out) == (2, "")
    assert said in " ".join(err.split())
    assert not (files / "m.safetensors").exists()


def test_files_are_never_replaced_by_accident(capsys, files):
    before = (files / "a.safetensors").read_bytes()
    assert merge(capsys, files, "--force", out="a.safetensors")[0] == 2
    assert (files / "a.safetensors").read_bytes() == before
    assert merge(capsys, files)[0] == 0
    first = (files / "m.safetensors").read_bytes()
    assert merge(capsys, files, "--method", "ties")[0] == 2
    assert (files / "m.safetensors").read_bytes() == first
    assert merge(capsys, files, "--method", "ties", "--force")[0] == 0
    assert (files / "m.safetensors").read_bytes() != first
    assert merge(capsys, files, out="m.bin")[0] == 2


@pytest.mark.parametrize(("error", "said"), [
    (0.0, "0%"), (3e-8, "0%"), (3.14e-4, "0.031%"), (0.046, "4.6%"), (0.98, "98%"), (2.51, "251%"),
])
def test_a_difference_is_a_plain_number(error, said):
    assert _percent(error) == said


def test_a_merge_that_would_do_nothing_replaces_nothing(capsys, files):
    assert merge(capsys, files)[0] == 0
    first = (files / "m.safetensors").read_bytes()
    status, out, err = merge(capsys, files, "--method", "ties", "--density", "1e-6", "--force")
    assert (status, out) == (1, "")
    assert "larger density" in " ".join(err.split())
    assert (files / "m.safetensors").read_bytes() == first
    assert not list(files.glob(".*"))


def test_parts_of_two_bases_are_said(capsys, files):
    for name, base in (("a", "Qwen-Image-Edit-2511"), ("镜头 b", "Qwen-Image-Edit-Plus")):
        drawn = factory.plain(factory.SPELLINGS["kohya"], factory.MODULES, 4, 2.0, len(name), factory.gauss)
        factory.write(files / f"{name}.safetensors", drawn.tensors, {"modelspec.architecture": f"{base}/lora"})
    status, out, _ = merge(capsys, files)
    assert status == 0
    assert "different bases: Qwen/Qwen-Image-Edit-2509, Qwen/Qwen-Image-Edit-2511" in " ".join(out.split())


def test_a_part_that_the_gate_refuses_is_named(capsys, files):
    factory.write(files / "a.safetensors", {key: value * (0 if "up" in key else 1)
                                            for key, value in sabotage.sound("kohya").items()})
    status, out, err = merge(capsys, files)
    assert (status, out) == (1, "")
    assert "a.safetensors" in err
    assert not (files / "m.safetensors").exists()


def test_overlap_explains_and_does_not_judge(capsys, files):
    pair = (files / "a.safetensors", files / "镜头 b.safetensors")
    status, out, _ = call(capsys, "inspect", *pair, "--overlap", "--model", files / "model")
    assert status == 0
    assert "does not judge" in out
    assert max(len(line) for line in out.splitlines()) <= 100
    status, out, _ = call(capsys, "inspect", *pair, "--overlap", "--model", files / "model", "--json")
    told = json.loads(out)
    assert len(told["shared"]) == len(factory.MODULES)
    assert abs(told["cosine"]) < 0.2
    assert call(capsys, "inspect", *pair)[0] == 2
    assert call(capsys, "inspect", pair[0], "--overlap")[0] == 2
    assert call(capsys, "inspect", pair[0], files / "gone.safetensors", "--overlap")[0] == 2
