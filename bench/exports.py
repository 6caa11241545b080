"""Do the readers of an export read it? Counts of pairs that each loader finds, and pictures that a script repeats.

    python bench/exports.py --quick                       datasets, the diffusers script, a repeated bundle
    python bench/exports.py --musubi DIR --ai-toolkit DIR --sd-scripts DIR
                                                          also the trainers' own loaders, from checkouts of theirs
    python bench/exports.py --json                        one JSON document on stdout

The data set is of a small project whose pictures are made here. musubi-tuner's loader needs toml, voluptuous and av
beside its checkout; ai-toolkit's needs its requirements; sd-scripts' needs toml, voluptuous, imagesize and einops.
A trainer whose checkout is not given is not counted.
Exit status 1 if a figure misses its target.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]


@dataclass(frozen=True)
class Figure:
    """One graded figure."""

    name: str
    value: float
    target: str
    ok: bool


def exactly(name: str, value: float, target: float) -> Figure:
    return Figure(name, value, f"= {target:g}", value == target)


MUSUBI = """
import argparse, sys
sys.path.insert(0, sys.argv[1])
from musubi_tuner.dataset import config_utils as c
from musubi_tuner.dataset.architectures import ARCHITECTURE_QWEN_IMAGE_EDIT as edit
plan = c.BlueprintGenerator(c.ConfigSanitizer()).generate(
    c.load_user_config("dataset.toml"), argparse.Namespace(debug_dataset=False), architecture=edit)
group = c.generate_dataset_group_by_blueprint(plan.dataset_group)
items = [item for each in group.datasets for _, batch in each.retrieve_latent_cache_batches(1) for item in batch]
print("FOUND", sum(bool(item.caption) and len(item.control_content) == 1 for item in items))
"""
MUSUBI_ARGUMENTS = """
import sys, tomllib
sys.path.insert(0, sys.argv[1])
sys.argv = ["x"]
from musubi_tuner.qwen_image_train_network import qwen_image_setup_parser
from musubi_tuner.training.parser_common import setup_parser_common
known = {action.dest for action in qwen_image_setup_parser(setup_parser_common())._actions}
named = {key for part in tomllib.load(open("train.toml", "rb")).values() for key in part}
print("FOUND", len(named - known))
"""
AI_TOOLKIT = """
import sys
sys.path.insert(0, sys.argv[1])
from types import SimpleNamespace
from toolkit.config import get_config
from toolkit.config_modules import DatasetConfig, ModelConfig, NetworkConfig, SampleConfig, SaveConfig, TrainConfig
from toolkit.data_loader import AiToolkitDataset
job = get_config("train_32gb.yaml")["config"]["process"][0]
for name, kind in dict(network=NetworkConfig, train=TrainConfig, model=ModelConfig, sample=SampleConfig,
                       save=SaveConfig).items():
    kind(**job[name])
class Model:
    model_config = SimpleNamespace(latent_space_version=None, arch="qwen_image_edit_plus")
    def get_bucket_divisibility(self): return 32
    def get_frame_count_snapper(self): return None
    def __getattr__(self, name):
        if name.startswith("__"): raise AttributeError(name)
        return False
chosen = {**job["datasets"][0], "resolution": 512, "caption_dropout_rate": 0.0}  # dropping is random
data = AiToolkitDataset(dataset_config=DatasetConfig(**chosen), sd=Model())
for file in data.file_list:
    file.load_caption(data.caption_dict)
print("FOUND", sum(bool(file.caption) and bool(file.control_path) for file in data.file_list))
"""
# sd-scripts imports two sampling pipelines of an older transformers, which no data set touches: they are stood in for.
SD_SCRIPTS = """
import argparse, sys, types
sys.path.insert(0, sys.argv[1])
for name, part in (("lpw_stable_diffusion", "StableDiffusionLongPromptWeightingPipeline"),
                   ("sdxl_lpw_stable_diffusion", "SdxlStableDiffusionLongPromptWeightingPipeline")):
    module = types.ModuleType(f"library.{name}")
    setattr(module, part, None)
    sys.modules[f"library.{name}"] = module
from library import config_util as c
plan = c.BlueprintGenerator(c.ConfigSanitizer(True, True, False, True)).generate(
    c.load_user_config("dataset.toml"), argparse.Namespace(debug_dataset=False, prior_loss_weight=1.0))
group = c.generate_dataset_group_by_blueprint(plan.dataset_group)
group = group[0] if isinstance(group, tuple) else group
print("FOUND", sum(bool(info.caption) for data in group.datasets for info in data.image_data.values()))
"""


def loader(python: str, code: str, checkout: Path, folder: Path) -> float:
    """What a trainer's own code counts in a folder of the export; −1 when it could not be run."""
    done = subprocess.run([python, "-c", code, str(checkout)], cwd=folder, capture_output=True, text=True, check=False)
    found = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    if not found:
        print((done.stderr or done.stdout)[-600:], file=sys.stderr)
    return float(found[-1]) if found else -1.0


def dataset_figures(work: Path, given: argparse.Namespace) -> Iterator[Figure]:
    from export import projects
    from whichlora.cli.main import main
    from whichlora.plan.codec import plan_to_json

    project = projects.painted(work / "painted", photos=2)
    project.pass_all("sharp", "soft")
    project.conclude("sharp")
    named = replace(project.plan, base=replace(project.plan.base, id="Qwen/Qwen-Image-Edit-2509"))
    with project.store() as store:
        store.add_document("plan", plan_to_json(named))
    with redirect_stdout(sys.stderr):
        try:
            main(["export", str(project.folder), "dataset", "--to", str(work / "out")])
        except SystemExit as error:
            if error.code:
                raise
    root = work / "out" / "dataset"
    pairs = len(json.loads((root / "manifest.json").read_text(encoding="utf-8"))["items"])
    yield exactly("pairs in the manifest", pairs, len(project.cells("sharp")))
    try:
        import datasets

        rows = datasets.load_dataset("imagefolder", data_dir=str(root / "imagefolder"), split="train",
                                     cache_dir=str(work / "cache"))
        yield exactly("pairs that Hugging Face datasets reads", sum("control" in row for row in rows), pairs)
    except ImportError:
        print("datasets is not installed: not counted", file=sys.stderr)
    if given.musubi is not None:
        yield exactly("pairs that musubi-tuner's loader reads",
                      loader(given.python, MUSUBI, given.musubi / "src", root / "musubi"), pairs)
        yield exactly("arguments in train.toml that musubi-tuner does not know",
                      loader(given.python, MUSUBI_ARGUMENTS, given.musubi / "src", root / "musubi"), 0)
    if given.sd_scripts is not None:
        yield exactly("pairs that sd-scripts' loader reads",
                      loader(given.python, SD_SCRIPTS, given.sd_scripts, root / "kohya"), pairs)
    if given.ai_toolkit is not None:
        yield exactly("pairs that ai-toolkit's loader reads",
                      loader(given.python, AI_TOOLKIT, given.ai_toolkit, root / "ai-toolkit"), pairs)


def tested_figures(work: Path) -> Iterator[Figure]:
    """The script and the bundle, through the tests that hold their targets."""
    for name, test in (
        ("failed repeats by the exported script (three set-ups, to 1/255)",
         "tests/export/test_setup_export.py::test_the_script_makes_the_compared_picture"),
        ("failed repeats of a bundle (painter and tiny model, pixel for pixel)",
         "tests/export/test_bundle_export.py"),
    ):
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{ROOT / test}"],
                              cwd=ROOT, capture_output=True, text=True, check=False)
        failed = sum(line.startswith(("FAILED", "ERROR")) for line in done.stdout.splitlines())
        yield exactly(name, failed if done.returncode in (0, 1) else -1, 0)


def main() -> int:
    """Count, print, and say by the exit status whether every target is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the same: there is nothing longer")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--musubi", type=Path, help="a checkout of musubi-tuner")
    parser.add_argument("--ai-toolkit", type=Path, help="a checkout of ai-toolkit")
    parser.add_argument("--sd-scripts", type=Path, help="a checkout of kohya's sd-scripts")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the trainers' packages")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        figures = [*dataset_figures(work, given), *tested_figures(work)]
    if given.json:
        print(json.dumps({"figures": [asdict(figure) for figure in figures], "run": {"project": "painter"}}, indent=1))
    else:
        for figure in figures:
            print(f"{'ok ' if figure.ok else 'MISS'} {figure.value:>6g}  {figure.target:<6} {figure.name}")
    return 0 if all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
