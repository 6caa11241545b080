"""Bad input: one clear sentence with the value and the next step, the right exit status, nothing half-written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from families import painters
from whichlora.store import Store

PORTRAITS = Path(__file__).parent.parent / "data" / "portraits"


def whichlora(*words, **options):
    return subprocess.run([sys.executable, "-m", "whichlora.cli.main", *map(str, words)], capture_output=True,
                          text=True, encoding="utf-8", **options)


def refused(status, *words, **options):
    done = whichlora(*words, **options)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


@pytest.fixture
def project(tmp_path):
    """A project of one portrait with a painter base."""
    painter = painters.base(tmp_path / "painter")
    done = whichlora("init", tmp_path / "p", "--refs", PORTRAITS / "president-smiling.jpg", "--base", painter,
                     "--family", "painter")
    assert done.returncode == 0, done.stderr
    return tmp_path / "p"


def edit(project, before, after):
    path = project / "whichlora.yaml"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("make", ["missing", "text", "truncated", "empty"])
def test_unusable_photographs(tmp_path, make):
    photo = tmp_path / "she.jpg"
    whole = (PORTRAITS / "president-smiling.jpg").read_bytes()
    content = {"text": b"not a picture", "truncated": whole[: len(whole) // 3], "empty": b""}
    if make != "missing":
        photo.write_bytes(content[make])
    message = refused(2, "init", tmp_path / "p", "--refs", photo)
    assert "she.jpg" in message
    assert not (tmp_path / "p").exists()
    assert listing(tmp_path) == ([] if make == "missing" else ["she.jpg"])


def test_a_folder_without_photographs(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "No PNG, JPEG or WebP" in refused(2, "init", tmp_path / "p", "--refs", tmp_path / "empty")


def test_init_never_overwrites(project):
    before = listing(project)
    message = refused(2, "init", project, "--refs", PORTRAITS / "vice-president.jpg")
    assert "not empty" in message
    assert listing(project) == before


@pytest.mark.parametrize("verb", ["run", "report", "doctor", "score"])
def test_a_file_in_place_of_a_folder(tmp_path, verb):
    (tmp_path / "p").mkdir()
    given = tmp_path / "p" / "whichlora.yaml"
    given.write_text("schema: whichlora.suite/1\n", encoding="utf-8")
    message = refused(2, verb, given)
    assert "is a file" in message
    assert message.rstrip().endswith(f": {tmp_path / 'p'}")
    assert listing(tmp_path) == ["p", "p/whichlora.yaml"]


def test_no_project(tmp_path):
    assert "whichlora init" in refused(2, "run", tmp_path / "nowhere")
    assert "has no whichlora.yaml" in refused(2, "plan", tmp_path)
    assert listing(tmp_path) == []


def test_wrong_suite_key_names_the_line(project):
    edit(project, "must_have:", "must_hav:")
    message = refused(2, "run", project)
    assert "line" in message
    assert "must_have" in message
    assert not (project / "store.sqlite").exists()


def test_unknown_family_lists_the_known(project):
    edit(project, "family: painter", "family: qwen_image_edti")
    message = refused(2, "plan", project)
    assert "qwen_image_edit" in message


def test_base_without_weights(project, tmp_path):
    (tmp_path / "hollow").mkdir()
    edit(project, str(tmp_path / "painter"), str(tmp_path / "hollow"))
    edit(project, "family: painter", "family: qwen_image_edit")
    message = refused(2, "plan", project)
    assert "hollow" in message


def test_missing_lora_says_what_is_there(project):
    painters.lora(project / "loras" / "angles.safetensors", camera=0.5)
    edit(project, "candidates: []", "candidates: [{name: a, loras: angels.safetensors}]")
    message = refused(2, "plan", project)
    assert "angels.safetensors" in message
    assert "angles.safetensors" in message


def test_scores_and_reports_need_pictures(project):
    assert "whichlora run" in refused(2, "report", project) or "no project store" in refused(2, "report", project)


def test_unknown_verb_and_option(project):
    assert "Did you mean: report" in refused(2, "reprot", project)
    done = whichlora("run", project, "--fast")
    assert done.returncode == 2
    assert "--fast" in done.stderr


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user who can be refused")
def test_a_folder_without_rights(project):
    project.chmod(0o555)
    try:
        assert "refused access" in refused(3, "run", project)
    finally:
        project.chmod(0o755)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file size limit")
def test_no_space_left_is_a_sentence_and_a_resume(project):
    """A file size limit fails writes as a full disk does; the same command then goes on."""
    edit(project, "candidates: []", "candidates: []")
    program = (
        "import resource, sys, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))\n"
        "from whichlora.cli.main import main; main(sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", program, "run", str(project)], capture_output=True, text=True,
                          encoding="utf-8")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not list(project.rglob("*.part"))
    again = whichlora("run", project, "--json")
    assert again.returncode == 0, again.stderr
    cells = json.loads(again.stdout)["cells"]
    assert cells["done"] == cells["planned"]


def test_help_is_light():
    """`--help` and `import whichlora` import neither torch nor any other heavy library."""
    code = (
        "import sys; from whichlora.cli.main import main; main(['--help'])\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'onnxruntime', 'matplotlib', 'cv2', 'scipy', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    from whichlora.cli.main import VERBS

    assert all(verb in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", ["demo", "init", "plan", "run", "score", "report", "evaluate", "inspect", "survey",
                                  "doctor", "fetch"])
def test_every_verb_explains_itself_without_torch(verb):
    code = (
        "import sys; from whichlora.cli.main import main\n"
        f"try:\n    main(['{verb}', '--help'])\nexcept SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules and 'diffusers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "--json" in done.stdout


def test_options_that_take_lists():
    from whichlora.cli.main import spread

    assert spread(["p", "--refs", "a", "b", "--json"]) == ["p", "--refs", "a", "--refs", "b", "--json"]
    assert spread(["p", "--refs", "a", "--impostors", "b", "c"]) == [
        "p", "--refs", "a", "--impostors", "b", "--impostors", "c"]
    assert spread(["p", "--base", "x", "y"]) == ["p", "--base", "x", "y"]


def test_tiny_and_huge_pictures(tmp_path):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "dot.png")
    message = refused(2, "init", tmp_path / "p", "--refs", tmp_path / "dot.png")
    assert "dot.png" in message


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("words", [("--help",), ("survey", "--offline"), ("survey", "--offline", "--json")])
def test_a_reader_that_leaves_is_no_failure(words):
    """As with '| head': silent, and neither "no" (1) nor "the machine failed" (3)."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "whichlora.cli.main", *words], stdout=writing, stderr=subprocess.PIPE,
                          text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


LEAVE = "from ctypes import CDLL; CDLL(None).prctl(24, 1); "
"""PR_CAPBSET_DROP of CAP_DAC_OVERRIDE: also root may then only do what the rights of a file say."""


@pytest.mark.skipif(sys.platform != "linux", reason="drops a capability of Linux")
@pytest.mark.parametrize(("verb", "status"), [("report", 3), ("doctor", 1)])
def test_a_project_without_leave_to_write_is_not_called_damaged(project, verb, status):
    with Store(project, create=True):
        pass
    try:
        for path in (project, *project.iterdir()):
            path.chmod(path.stat().st_mode & ~0o222)
        done = subprocess.run(
            [sys.executable, "-c", f"{LEAVE}import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])",
             "-m", "whichlora.cli.main", verb, str(project)], capture_output=True, text=True, encoding="utf-8")
    finally:
        for path in (project, *project.iterdir()):
            path.chmod(path.stat().st_mode | 0o200)
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    assert "may not be written" in said
    assert "--repair" not in said
    assert "damaged" not in said
