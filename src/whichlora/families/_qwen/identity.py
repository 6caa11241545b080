"""The fingerprint of a base: a hash that changes when any file that can change a picture does.

Small files (below 64 MB) are hashed whole. A large weight file is identified by the SHA-256 that the Hub's cache
gives it as its blob's name, or else by its size, its header and sixteen chunks of 1 MiB spread evenly over it:
a fine-tune moves nearly every weight, so a different model differs in the chunks; a single flipped bit elsewhere
would not be seen (`whichlora fetch` checks whole files against the Hub).
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from whichlora.families._qwen.places import Places
from whichlora.types import fingerprint

SMALL_BYTES = 64_000_000
CHUNKS = 16
CHUNK_BYTES = 1 << 20
_SHA256 = re.compile(r"^[0-9a-f]{64}$")


def fingerprint_places(places: Places) -> str:
    """Hash configurations and weights of a base; paths and dates do not enter."""
    facts: dict[str, Any] = {
        f"{path.parent.name}/{path.name}": _config_hash(path) for path in places.configs
    }
    if places.one_picture:
        facts["pictures"] = "one"  # equal weights in the other pipeline make other pictures
    if places.random_weights:
        facts["weights"] = "random/1"
    for part, files in places.weights.items():
        facts[part] = [weight_identity(file) for file in files]
    return fingerprint(["qwen-base", 1, facts])


def weight_identity(path: Path) -> list[Any]:
    """How a weight file is known: ['sha256', hex], or ['sampled', size, hex] for a large one outside the Hub cache."""
    size = path.stat().st_size
    if size < SMALL_BYTES:
        return ["sha256", _whole(path)]
    blob = path.resolve()
    if blob.parent.name == "blobs" and _SHA256.match(blob.name):
        return ["sha256", blob.name]
    return ["sampled", size, _sampled(path, size)]


def _whole(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sampled(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(CHUNK_BYTES))  # length, and (most of) the header
        for index in range(CHUNKS):
            file.seek(index * (size - CHUNK_BYTES) // (CHUNKS - 1))
            digest.update(file.read(CHUNK_BYTES))
    return digest.hexdigest()


def _config_hash(path: Path) -> str:
    """Hash a JSON file by its meaning (without library versions and paths), anything else by its bytes."""
    if path.suffix == ".json":
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            data = None
        if isinstance(data, dict):
            kept = {key: value for key, value in data.items() if not key.startswith("_") or key == "_class_name"}
            kept.pop("transformers_version", None)
            text = json.dumps(kept, sort_keys=True, ensure_ascii=False)
            return hashlib.sha256(text.encode()).hexdigest()
    return _whole(path)
