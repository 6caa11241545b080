"""One set of pairs in the folder layouts of four readers. Pictures are written once and linked for the others.

ai-toolkit      images/NAME.png + NAME.txt, and control/, control_2/, … with the same names (its `control_path` list)
musubi-tuner    images/NAME.png + NAME.txt, and control/NAME_0.png, NAME_1.png, … (its `control_directory`)
kohya           img/REPEATS_TRIGGER/NAME.png + NAME.txt for sd-scripts, which knows no source photographs; they lie in
                conditioning/ for its ControlNet training
imagefolder     train/metadata.jsonl with file_name, control_file_name and text, as Hugging Face `datasets` reads it

Sources: ai-toolkit config/examples/train_lora_qwen_image_edit_2509_32gb.yaml and toolkit/dataloader_mixins.py;
musubi-tuner docs/dataset_config.md; sd-scripts docs/config_README-en.md; `datasets`' page on ImageFolder.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from whichlora.errors import PhotoError, UnknownNameError
from whichlora.export.folder import link, write_lines, write_text
from whichlora.export.pairs import Pair
from whichlora.store import Store
from whichlora.suite.photos import open_picture
from whichlora.types import SourceImage

LAYOUTS = ("ai-toolkit", "musubi", "kohya", "imagefolder")


@dataclass(frozen=True, slots=True)
class WrittenPair:
    """A pair with its pictures in the draft."""

    pair: Pair
    image: Path
    """The result, byte for byte as stored."""
    controls: tuple[Path, ...]
    """The photographs as PNG: turned upright, without metadata such as the place where they were taken."""


def write_layouts(
    draft: Path, pairs: Sequence[Pair], store: Store, project: Path, layouts: Collection[str], trigger: str,
) -> list[WrittenPair]:
    """Write the pictures once and every layout over them.

    Args:
        draft: Folder of the data set.
        pairs: What to write.
        store: Where results lie.
        project: Folder of the project, for its photographs.
        layouts: Names out of `LAYOUTS`.
        trigger: Trigger word, for kohya's folder name.

    Raises:
        UnknownNameError: A layout is unknown.
        PhotoError: A photograph changed since it was planned, or a stored picture is damaged.
    """
    for name in layouts:
        if name not in LAYOUTS:
            raise UnknownNameError("layout", name, LAYOUTS)
    photos: dict[str, bytes] = {}
    written: list[WrittenPair] = []
    for pair in pairs:
        for source in pair.sources:
            if source.id not in photos:
                photos[source.id] = _photo_png(source, project)
        written.append(_write_pair(draft / "pictures", pair, store, [photos[item.id] for item in pair.sources]))
    writers: dict[str, Callable[[Path, Sequence[WrittenPair], str], None]] = {
        "ai-toolkit": _ai_toolkit, "musubi": _musubi, "kohya": _kohya, "imagefolder": _imagefolder,
    }
    for name in LAYOUTS:
        if name in layouts:
            writers[name](draft / name, written, trigger)
    return written


def _write_pair(folder: Path, pair: Pair, store: Store, photos: Sequence[bytes]) -> WrittenPair:
    if not store.images.intact(pair.image):
        raise PhotoError(f"The stored picture {pair.image[:12]}… is missing or damaged.",
                         fix="Make such pictures again with: whichlora run PROJECT")
    image = folder / "images" / f"{pair.name}.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(store.images.path(pair.image).read_bytes())
    controls: list[Path] = []
    for index, data in enumerate(photos):
        control = folder / _nth("control", index) / f"{pair.name}.png"
        control.parent.mkdir(parents=True, exist_ok=True)
        control.write_bytes(data)
        controls.append(control)
    return WrittenPair(pair, image, tuple(controls))


def _photo_png(source: SourceImage, project: Path) -> bytes:
    path = project / source.path
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise PhotoError(f"The photograph '{path}' cannot be read: {error.strerror or error}.",
                         fix="Put it back and export again.") from error
    if found != source.sha256:
        raise PhotoError(f"The photograph '{path}' has changed since the pictures were made from it.",
                         fix="Put the old one back, or run with the new one first: whichlora evaluate PROJECT")
    buffer = io.BytesIO()
    Image.fromarray(open_picture(path)).save(buffer, "PNG")
    return buffer.getvalue()


def _nth(name: str, index: int) -> str:
    return name if index == 0 else f"{name}_{index + 1}"


def _ai_toolkit(folder: Path, written: Sequence[WrittenPair], trigger: str) -> None:
    for item in written:
        link(item.image, folder / "images" / item.image.name)
        write_text(folder / "images" / f"{item.pair.name}.txt", item.pair.caption + "\n")
        for index, control in enumerate(item.controls):
            link(control, folder / _nth("control", index) / control.name)


def _musubi(folder: Path, written: Sequence[WrittenPair], trigger: str) -> None:
    for item in written:
        link(item.image, folder / "images" / item.image.name)
        write_text(folder / "images" / f"{item.pair.name}.txt", item.pair.caption + "\n")
        for index, control in enumerate(item.controls):
            link(control, folder / "control" / f"{item.pair.name}_{index}.png")


def _kohya(folder: Path, written: Sequence[WrittenPair], trigger: str) -> None:
    name = re.sub(r"[^A-Za-z0-9 -]+", "-", trigger).strip("- ") or "character"
    for item in written:
        link(item.image, folder / "img" / f"1_{name}" / item.image.name)
        write_text(folder / "img" / f"1_{name}" / f"{item.pair.name}.txt", item.pair.caption + "\n")
        link(item.controls[0], folder / "conditioning" / item.controls[0].name)
    write_text(folder / "dataset.toml", _KOHYA.format(folder=f"img/1_{name}"))


_KOHYA = """\
# For sd-scripts (--dataset_config dataset.toml, started in this folder). sd-scripts trains no Qwen-Image-Edit and its
# LoRA training takes no source photographs: it learns what the results look like, not the edit. For the edit use the
# folders 'musubi' or 'ai-toolkit'. For ControlNet training add: conditioning_data_dir = "conditioning"
[general]
caption_extension = ".txt"
shuffle_caption = false  # an instruction is a sentence, not a list of tags

[[datasets]]
resolution = 1024
batch_size = 1
enable_bucket = true
bucket_no_upscale = true

  [[datasets.subsets]]
  image_dir = "{folder}"
  num_repeats = 1
"""


def _imagefolder(folder: Path, written: Sequence[WrittenPair], trigger: str) -> None:
    rows = []
    for item in written:
        link(item.image, folder / "train" / "images" / item.image.name)
        row = {"file_name": f"images/{item.image.name}"}
        for index, control in enumerate(item.controls):
            name = _nth("control", index)
            link(control, folder / "train" / name / control.name)
            row[f"{name}_file_name"] = f"{name}/{control.name}"
        pair = item.pair
        row |= {"text": pair.caption, "capability": pair.case.family, "photograph": pair.case.source,
                "edit": pair.case.edit, "made_by": pair.candidate.name, "seed": str(pair.cell.seed)}
        rows.append(row)
    write_lines(folder / "train" / "metadata.jsonl", rows)
