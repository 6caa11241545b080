"""Which files are meant: a LoRA by repository and file, or the parts of a base; asks the Hub for sizes and hashes.

Each part of a base (transformer, text encoder, VAE, configuration) stands by itself, so that a transformer that is
on disk already is not fetched again inside a whole repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whichlora.errors import UnknownNameError, UserError
from whichlora.survey.hubclient import HubClient
from whichlora.survey.names import Reference, is_sound_path
from whichlora.survey.text import clean

_WEIGHTS = (".safetensors", ".gguf")
_PARTS = ("transformer", "text_encoder", "vae")
_UNWANTED = re.compile(r"\.(bin|pt|pth|ckpt|pkl|msgpack|h5|onnx|png|jpe?g|webp|gif|mp4|py)$|\.fp16\.", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is needed."""

    repo_id: str
    """Repository, by its present name."""
    file: str
    """Path inside it, in its own spelling."""
    commit: str
    """Commit that the facts are of."""
    size_bytes: int
    """True size by the Hub."""
    sha256: str | None
    """SHA-256 by the Hub; None for small files, which git identifies."""
    git_sha1: str | None
    """Git's hash of a small file."""
    part: str
    """'lora', 'transformer', 'text_encoder', 'vae' or 'configuration'."""
    gated: bool = False
    """True when its author must admit the user."""
    revision: str = "main"
    """Branch or tag under which it was asked for."""

    @property
    def key(self) -> str:
        """Name of its content in the Hub's cache."""
        return self.sha256 or self.git_sha1 or ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository's files as the Hub tells them."""

    repo_id: str
    """Present name; may differ from the one asked for."""
    commit: str
    """Newest commit of the revision."""
    gated: bool
    """Whether it is gated."""
    files: Mapping[str, Mapping[str, Any]]
    """Path → the Hub's facts."""
    revision: str
    """Revision that was asked for."""


def list_repository(reference: Reference, client: HubClient) -> Listing:
    """Ask for a repository's files, sizes and hashes: one call.

    Raises:
        UserError: It does not exist, or is closed to this user.
        HubError: The Hub failed.
    """
    info = client.model_info(reference.repo_id, reference.revision)
    files: dict[str, Mapping[str, Any]] = {}
    for item in info.get("siblings") or []:
        name = item.get("rfilename") if isinstance(item, dict) else None
        if isinstance(name, str) and is_sound_path(name):
            files[name] = item
    commit = info.get("sha")
    if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise UserError(f"The Hub gives no commit for {reference.repo_id}.", fix="Try again, or name a revision.")
    name = info.get("id")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,96}/[A-Za-z0-9_.-]{1,96}", name):
        name = reference.repo_id  # what the server calls it becomes a folder's name, so it must look like one
    return Listing(name, commit, bool(info.get("gated")), files, reference.revision or "main")


def lora_file(reference: Reference, listing: Listing) -> Wanted:
    """The one weight file of a LoRA that is meant.

    Raises:
        UnknownNameError: The named file is not there; the message lists neighbours.
        UserError: The repository has none, or several and none was named.
    """
    weights = [name for name in listing.files if name.lower().endswith(_WEIGHTS)]
    if reference.file is not None:
        name = _match(reference.file, listing.files)
        if name is None:
            raise UnknownNameError(f"file in {listing.repo_id}", reference.file, weights or list(listing.files))
        return wanted(name, listing, "lora")
    if not weights:
        raise UserError(
            f"{listing.repo_id} has no .safetensors file.", fix="Pickle files (.bin, .pt) are never opened here.")
    if len(weights) > 1:
        lines = "".join(f"\n    {listing.repo_id}:{clean(name)}  ({_size(listing, name)})" for name in weights[:12])
        raise UserError(f"{listing.repo_id} has {len(weights)} weight files; name the one that you mean:{lines}")
    return wanted(weights[0], listing, "lora")


def _match(wanted_name: str, files: Iterable[str]) -> str | None:
    """The file of that name: exactly, in another Unicode form, or by its last part if only one has it."""
    import unicodedata

    def plain(text: str) -> str:
        return unicodedata.normalize("NFC", text)

    names = list(files)
    for same in ([name for name in names if name == wanted_name], [n for n in names if plain(n) == plain(wanted_name)],
                 [name for name in names if plain(name.rsplit("/", 1)[-1]) == plain(wanted_name)]):
        if len(same) == 1:
            return same[0]
    return None


def base_parts(listing: Listing, *, without: Sequence[str] = ()) -> list[Wanted]:
    """Files of a base model in diffusers' layout, part by part.

    Args:
        listing: The base's repository.
        without: Parts whose weights come from elsewhere; their small configuration files are still wanted.

    Raises:
        UserError: It is no such repository.
    """
    if "model_index.json" not in listing.files:
        raise UserError(f"{listing.repo_id} has no model_index.json: it is not a base model in diffusers' layout.",
                        fix="Name one file of it: OWNER/NAME:FILE")
    found: list[Wanted] = []
    for name in listing.files:
        folder = name.split("/")[0] if "/" in name else ""
        inside = folder in {*_PARTS, "scheduler", "tokenizer", "processor"} or name == "model_index.json"
        if not inside or _UNWANTED.search(name):
            continue
        heavy = name.lower().endswith(_WEIGHTS) or name.endswith(".index.json")
        if folder in without and heavy:
            continue
        found.append(wanted(name, listing, folder if heavy and folder in _PARTS else "configuration"))
    return found


def wanted(name: str, listing: Listing, part: str) -> Wanted:
    """Facts of one file of a listing.

    Raises:
        UserError: The Hub tells no size or no hash, so that the file could not be verified.
    """
    item = listing.files[name]
    declared = item.get("lfs")
    lfs: Mapping[str, Any] = declared if isinstance(declared, dict) else {}
    size = lfs.get("size") if isinstance(lfs.get("size"), int) else item.get("size")
    digest = lfs.get("sha256") or lfs.get("oid")
    blob = item.get("blobId")
    sha256 = digest if isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest) else None
    sha1 = blob if isinstance(blob, str) and re.fullmatch(r"[0-9a-f]{40}", blob) else None
    if not isinstance(size, int) or size < 0 or (sha256 is None and (lfs or sha1 is None)):
        raise UserError(f"The Hub tells no size or hash of {listing.repo_id}:{clean(name)}; it could not be verified.")
    return Wanted(listing.repo_id, name, listing.commit, size, sha256, None if sha256 else sha1, part, listing.gated,
                  listing.revision)


def _size(listing: Listing, name: str) -> str:
    size = listing.files[name].get("size")
    return f"{size / 1e6:,.0f} MB" if isinstance(size, int) else "size unknown"
