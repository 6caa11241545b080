"""Decide which files to fetch for what was asked: LoRAs, a base with its cheapest sufficient transformer, a project.

Reads the Hub's metadata and this disk; downloads nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whichlora.errors import RefusedError, UserError, WhichloraError
from whichlora.fetch.digests import DigestBook
from whichlora.fetch.reuse import Item, look_up
from whichlora.fetch.wanted import Listing, Wanted, base_parts, list_repository, lora_file
from whichlora.survey.hubclient import HubClient
from whichlora.survey.names import Reference, name_in_project, parse_reference
from whichlora.survey.places import FoundFile

TRANSFORMERS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    # base → kind → (repository, file) of a transformer that stands in for the base's own 40.9 GB
    "Qwen/Qwen-Image-Edit-2509": {
        "gguf-q8": ("QuantStack/Qwen-Image-Edit-2509-GGUF", "Qwen-Image-Edit-2509-Q8_0.gguf"),
        "fp8": ("Comfy-Org/Qwen-Image-Edit_ComfyUI",
                "split_files/diffusion_models/qwen_image_edit_2509_fp8_e4m3fn.safetensors"),
    },
}
"""Known stand-ins; whoever has another one names it with --transformer."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, taken apart."""

    references: tuple[Reference, ...]
    """Repositories on the Hub; a base is told from a LoRA by its file list."""
    project: Path | None = None
    """Project folder, whose loras/ receives the LoRA files."""
    notes: tuple[str, ...] = ()
    """What was left out of what was asked."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One way of getting a base's transformer."""

    name: str
    """'bf16', 'gguf-q8', 'fp8', or 'own'."""
    missing_bytes: int
    """Bytes that would still be fetched, other parts included."""
    here: str
    """Where the transformer lies already; '' if it must be fetched."""


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """Everything that is needed, and where it stands."""

    items: tuple[Item, ...]
    """Files, in order."""
    choices: tuple[Choice, ...] = ()
    """Ways of getting the base, smallest download first."""
    locations: tuple[str, ...] = ()
    """What to write as a project's base once everything is here."""
    notes: tuple[str, ...] = field(default_factory=tuple)
    """What a user should know."""

    @property
    def missing_bytes(self) -> int:
        """Bytes still to be fetched."""
        return sum(item.missing_bytes for item in self.items)


class Planner:
    """Plans one fetch; holds what it needs to look things up.

    Args:
        client: Connection to the Hub.
        found: Weight files on this disk.
        cache: The Hub's cache folder.
        book: Remembered digests.
        say: Told what takes long.
    """

    def __init__(
        self, client: HubClient, found: Sequence[FoundFile], cache: Path, book: DigestBook,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._client = client
        self._found = found
        self._cache = cache
        self._book = book
        self._say = say or (lambda _: None)
        self._notes: list[str] = []

    def plan(self, request: Request, transformer: str = "bf16") -> FetchPlan:
        """Resolve a request.

        Args:
            request: What was asked.
            transformer: 'bf16', a name in `TRANSFORMERS`, 'OWNER/NAME:FILE', or a local file.

        Raises:
            UserError: Something does not exist, is not clear, or is closed to this user.
            HubError: The Hub failed.
        """
        self._notes.extend(request.notes)
        items: list[Item] = []
        choices: list[Choice] = []
        locations: list[str] = []
        for reference in request.references:
            listing = list_repository(reference, self._client)
            if listing.repo_id.lower() != reference.repo_id.lower():
                self._notes.append(f"{reference.repo_id} was renamed to {listing.repo_id}.")
            if reference.file is None and "model_index.json" in listing.files:
                found, options, location = self._base(listing, transformer)
                items += found
                choices += options
                locations.append(location)
            else:
                items += self._look_up([lora_file(reference, listing)])
        gated = sorted({item.wanted.repo_id for item in items if item.wanted.gated and item.path is None})
        self._notes += [f"{name} is gated: accept its terms on the Hub and sign in (hf auth login)." for name in gated]
        return FetchPlan(tuple(items), tuple(choices), tuple(locations), tuple(dict.fromkeys(self._notes)))

    def _look_up(self, files: Sequence[Wanted]) -> list[Item]:
        return look_up(files, self._found, self._cache, self._book, self._say)

    def _base(self, listing: Listing, transformer: str) -> tuple[list[Item], list[Choice], str]:
        """Items of a base with the transformer that was chosen, and every choice with its price."""
        rest = self._look_up(base_parts(listing, without=("transformer",)))
        sources: dict[str, list[Item]] = {"bf16": self._look_up(_only_transformer(listing))}
        for name, (repo_id, file) in TRANSFORMERS.get(listing.repo_id, {}).items():
            stand_in = self._stand_in(Reference(repo_id, file), optional=name != transformer)
            if stand_in is not None:
                sources[name] = [stand_in]
        own: Path | None = None
        if transformer not in sources:
            own, extra = self._own(transformer)
            sources["own"] = extra
        chosen = transformer if transformer in sources else "own"
        common = sum(item.missing_bytes for item in rest)
        choices = [
            Choice(name, common + sum(item.missing_bytes for item in files), _where(files, own, name))
            for name, files in sources.items()
        ]
        location = listing.repo_id
        if chosen != "bf16":
            path = own or (sources[chosen][0].path if sources[chosen] else None)
            location = f"{listing.repo_id}::{path or sources[chosen][0].wanted.file.rsplit('/', 1)[-1]}"
        items = [*rest, *sources[chosen]]
        return items, sorted(choices, key=lambda choice: choice.missing_bytes), location

    def _stand_in(self, reference: Reference, *, optional: bool) -> Item | None:
        try:
            listing = list_repository(reference, self._client)
            file = lora_file(reference, listing)
            return self._look_up([_as_transformer(file)])[0]
        except WhichloraError as error:
            if not optional:
                raise
            self._notes.append(f"One way to get the transformer was left out: {error.message}")
            return None

    def _own(self, text: str) -> tuple[Path | None, list[Item]]:
        """A transformer named by the user: a local file, or a file on the Hub."""
        path = Path(text).expanduser()
        if path.is_file():
            if path.suffix.lower() not in {".safetensors", ".gguf"}:
                raise RefusedError(f"'{text}' is neither .safetensors nor .gguf.", fix="Only these are loaded.")
            return path.resolve(), []
        reference = parse_reference(text)
        if reference is None or reference.file is None:
            raise UserError(
                f"'{text}' is no way to get a transformer: neither a file nor a known name.",
                fix="Use bf16, gguf-q8, fp8, OWNER/NAME:FILE, or the path of a .gguf or .safetensors file.",
            )
        item = self._stand_in(reference, optional=False)
        return None, [item] if item is not None else []


def _only_transformer(listing: Listing) -> list[Wanted]:
    return [each for each in base_parts(listing) if each.part == "transformer"]


def _as_transformer(file: Wanted) -> Wanted:
    from dataclasses import replace

    return replace(file, part="transformer")


def _where(items: Sequence[Item], own: Path | None, name: str) -> str:
    if own is not None and name == "own":
        return str(own)
    return items[0].where if items and all(item.path is not None for item in items) else ""


# --------------------------------------------------------------------------- reading a request


def read_request(words: Sequence[str]) -> Request:
    """Take apart what was asked: Hub references, a project folder, or a saved survey.

    Raises:
        UserError: A word is none of them.
    """
    references: list[Reference] = []
    notes: list[str] = []
    project: Path | None = None
    for word in words:
        path = Path(word)
        if (path / "whichlora.yaml").is_file():
            project = path
            references += from_project(path)
        elif path.is_file() and path.suffix.lower() == ".json":
            named, unnamed = from_survey(path)
            references += named
            if unnamed:
                notes.append(f"The survey names no single file of {', '.join(unnamed)}: fetch these one by one.")
        elif path.is_file():
            raise UserError(f"'{word}' is on this disk already.", fix="See what is in it with: whichlora inspect FILE")
        elif (reference := parse_reference(word)) is not None:
            references.append(reference)
        else:
            raise UserError(
                f"'{word}' is neither a project folder, a saved survey (.json), nor OWNER/NAME[:FILE] on the Hub.",
                fix="Check the spelling; see what there is with: whichlora survey",
            )
    return Request(tuple(dict.fromkeys(references)), project, tuple(notes))


def from_project(folder: Path) -> list[Reference]:
    """Hub references of a project: its base, and every LoRA written as OWNER/NAME:FILE."""
    from whichlora.suite.loading import load_suite

    suite = load_suite(folder / "whichlora.yaml")
    location = suite.base.location.partition("::")[0]
    found: list[Reference] = []
    base = parse_reference(location)
    if base is not None and not (folder / location).exists() and not Path(location).exists():
        found.append(base)
    stacks = [candidate.loras for candidate in suite.candidates]
    stacks += [sampler.loras for sampler in suite.samplers.values() if sampler.loras]
    for stack in stacks:
        for term in re.split(r"\s+\+\s+", stack.strip()):
            name = re.sub(r":[-+]?[0-9.]+\Z", "", term.strip())
            reference = parse_reference(name)
            if reference is None or reference.file is None:
                continue
            here = [name, name_in_project(name) or name]
            if not any((place / each).is_file() for place in (folder, folder / "loras") for each in here):
                found.append(reference)
    return found


def from_survey(path: Path) -> tuple[list[Reference], list[str]]:
    """Hub references of a saved survey's must list, and the repositories of which it names no file.

    Raises:
        UserError: It is no saved survey.
    """
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        if not data["schema"].startswith("whichlora.survey/"):
            raise ValueError("another schema")
        must: list[dict[str, Any]] = [entry for entry in data["entries"] if entry["list"] == "must"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        fix = "Write one with: whichlora survey --save FILE"
        raise UserError(f"'{path}' is not a saved survey.", fix=fix) from error
    named = [Reference(entry["repo_id"], entry["file"]) for entry in must if isinstance(entry.get("file"), str)]
    known = {reference.repo_id for reference in named}
    return named, [str(entry["repo_id"]) for entry in must if entry["repo_id"] not in known]
