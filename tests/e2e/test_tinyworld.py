"""The chain on the embedded model: the verdict follows the weights, whatever they are called."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch")
from whichlora.cli.demo import set_up
from whichlora.tinyworld import LORA_FOLDER

GOOD, LOST = "toymaker--Qwen-Edit-Tiny-Multiple-Angles", "pixelwizard--Camera-Pro-Ultra"


def evaluate(folder, loras):
    """Run three photographs × one camera edit over base and the given LoRAs."""
    set_up(folder, photos=3, loras=loras)
    path = folder / "whichlora.yaml"
    suite = yaml.safe_load(path.read_text(encoding="utf-8"))
    suite["edits"] = [edit for edit in suite["edits"] if edit["family"] == "camera"]
    suite["must_have"] = ["camera"]
    path.write_text(yaml.safe_dump(suite, allow_unicode=True), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "whichlora.cli.main", "evaluate", str(folder), "--device", "cpu",
                           "--json"], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer, {row["name"]: row["ccr"]["value"] for row in answer["candidates"]}


def test_the_verdict_follows_the_weights_and_not_the_names(tmp_path):
    straight, rates = evaluate(tmp_path / "straight", {name: LORA_FOLDER / name for name in (GOOD, LOST)})
    assert rates["Multiple-Angles"] > max(rates["Camera-Pro-Ultra"], rates["base"])
    assert straight["verdict"]["candidate"] == "Multiple-Angles"
    swapped = {}
    for name, other in ((GOOD, LOST), (LOST, GOOD)):
        # The folder, card and name of the one with the weights of the other.
        folder = tmp_path / "swapped-files" / name
        shutil.copytree(LORA_FOLDER / name, folder)
        for old in folder.glob("*.safetensors"):
            old.unlink()
        weights = next((LORA_FOLDER / other).glob("*.safetensors"))
        shutil.copyfile(weights, folder / weights.name)
        swapped[name] = folder
    answer, rates = evaluate(tmp_path / "swapped", swapped)
    assert rates["Camera-Pro-Ultra"] > max(rates["Multiple-Angles"], rates["base"])
    assert answer["verdict"]["candidate"] == "Camera-Pro-Ultra"
    assert rates["do-nothing"] == rates["other-person"] == 0


def test_the_truth_is_read_by_nobody_but_tests():
    """No module of the product opens the file that holds the truth about the planted LoRAs."""
    package = Path(LORA_FOLDER).parent.parent.parent
    readers = [
        path.relative_to(package).as_posix() for path in package.rglob("*.py")
        if "TRUTH_FILE" in path.read_text(encoding="utf-8") or "truth.json" in path.read_text(encoding="utf-8")
    ]
    assert readers == ["tinyworld/__init__.py"]
