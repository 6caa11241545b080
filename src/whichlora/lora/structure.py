"""Put a file's tensors together into adapted modules: which matrices belong to which weight, at what scale.

This is the one reading of a LoRA file on which inspection, the static gate and the deltas all rest. It looks at the
header, and at alpha scalars through a hook; it judges no value and refuses nothing: what is wrong is listed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from whichlora.lora import base, keys
from whichlora.lora.formats import Recognised, foreign, read_names, recognise
from whichlora.lora.header import Entry, Header, TensorFile, printable
from whichlora.lora.scales import PeftRecord, Strength, read_record, strength
from whichlora.types import BaseEvidence

_LOKR = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b")
_LOHA = ("loha_w1_a", "loha_w1_b", "loha_w2_a", "loha_w2_b")

_DORA_ARGUMENT = re.compile(r"(dora_wd|use_dora|weight_decompose)\W{1,6}true", re.IGNORECASE)

ReadScalar = Callable[[Entry], float]


@dataclass(frozen=True, slots=True)
class Adapted:
    """One change of one parameter."""

    name: str
    """Canonical module path; the stem as written when the architecture has no such module."""
    parameter: str
    """'weight' or 'bias'."""
    kind: str
    """'lora', 'lokr', 'loha', 'diff' or 'bias'; magnitudes are told by `dora`."""
    tensors: Mapping[str, Entry]
    """Role → tensor."""
    rank: int
    """Inner dimension, 0 where there is none."""
    shape: tuple[int, ...]
    """Shape of the change; () when the matrices do not fit one another."""
    alpha: float | None
    """Alpha as stated."""
    scale: float
    """Factor of the change."""

    @property
    def dora(self) -> bool:
        """Whether the columns are renormalised to stored magnitudes."""
        return "magnitude" in self.tensors


@dataclass(frozen=True, slots=True)
class Structure:
    """A LoRA file, understood as far as names and shapes go."""

    recognised: Recognised
    """Layout and evidence."""
    adapted: tuple[Adapted, ...]
    """Every change whose module the architecture has and whose tensors are complete."""
    unmatched: tuple[str, ...]
    """Keys that belong to none of them."""
    problems: tuple[str, ...]
    """What is wrong, most telling first; empty for a sound file."""
    notes: tuple[str, ...]
    """What is worth knowing without being wrong."""
    family: tuple[str, str] | None
    """Foreign model family (base id, sentence), if the keys name one."""
    base: BaseEvidence
    """Which base it belongs to, by keys, shapes and header metadata alone; a card or file name may know more."""


def build(header: Header, *, path: Path | None = None, read_scalar: ReadScalar | None = None) -> Structure:
    """Read a header's names and shapes into adapted modules.

    Args:
        header: A checked header.
        path: Local file, to look for a sidecar beside it; None for a remote header.
        read_scalar: Reads an alpha; None when only the header is at hand.
    """
    names = read_names(header.entries)
    recognised = recognise(names)
    stems: dict[str, dict[str, Entry]] = {}
    problems: list[str] = [recognised.problem] if recognised.problem else []
    for key in names.keys:
        group = stems.setdefault(key.stem, {})
        if key.role in group:
            problems.append(f"'{printable(key.name)}' gives the {_role_name(key.role)} of a module a second time.")
        group[key.role] = header.entries[key.name]
    family = base.family_of_keys(_sizes(stems)) if stems else base.family_of_keys(_loose_sizes(header))
    record = read_record(header.metadata, path, recognised.name)
    builder = _Builder(recognised, record, read_scalar)
    for stem, group in stems.items():
        builder.add(stem, group)
    problems = _order(problems, family, names.loose, builder)
    problems += _record_problems(record, header.metadata, builder.adapted)
    unmatched = (*names.loose, *builder.unmatched)
    order = {name: position for position, name in enumerate(header.entries)}
    return Structure(
        recognised, tuple(builder.adapted), tuple(sorted(unmatched, key=order.__getitem__)), tuple(problems),
        tuple(_notes(recognised, record, builder)), family,
        base.weigh(weight_sizes(tuple(builder.adapted)), family, header.metadata),
    )


def load_structure(tensors: TensorFile) -> Structure:
    """Read an open local file into adapted modules, its alphas included."""
    return build(
        tensors.header, path=tensors.path, read_scalar=lambda entry: float(tensors.read(entry).reshape(-1)[0]),
    )


class _Builder:
    """Collects the modules of one file."""

    def __init__(self, recognised: Recognised, record: PeftRecord | None, read_scalar: ReadScalar | None) -> None:
        self.recognised, self.record, self.read_scalar = recognised, record, read_scalar
        self.adapted: list[Adapted] = []
        self.unmatched: list[str] = []
        self.unknown: list[str] = []
        self.broken: list[str] = []
        self.strengths: list[str] = []
        self.alpha_unread = False
        self._taken: dict[tuple[str, str], str] = {}

    def add(self, stem: str, group: dict[str, Entry]) -> None:
        """Turn one stem's tensors into changes, or list them as unmatched."""
        module = self.recognised.modules.get(stem)
        if module is None:
            self.unknown.append(stem)
            self.unmatched += [entry.name for entry in group.values()]
            return
        parts, reason = _split(module, group)
        if reason:
            self.broken.append(reason)
            self.unmatched += [entry.name for entry in group.values()]
            return
        for parameter, kind, tensors in parts:
            if (module, parameter) in self._taken:
                self.broken.append(f"The {parameter} of '{module}' is changed twice in one file.")
            self._taken[module, parameter] = stem
            self.adapted.append(self._change(module, parameter, kind, tensors))

    def _change(self, module: str, parameter: str, kind: str, tensors: dict[str, Entry]) -> Adapted:
        rank, shape = measure(kind, tensors)
        found = Strength(None, 1.0)
        if "up_bias" in tensors or kind not in ("diff", "bias"):
            rank_for_scale = tensors["down"].shape[0] if tensors.get("down") and tensors["down"].shape else rank
            found = strength(module, rank_for_scale, self._alpha(tensors), self.record)
        if found.problem:
            self.strengths.append(found.problem)
        kept = {role: entry for role, entry in tensors.items() if not (kind == "bias" and role == "down")}
        return Adapted(module, parameter, kind, kept, rank, shape, found.alpha, found.scale)

    def _alpha(self, tensors: Mapping[str, Entry]) -> float | None:
        entry = tensors.get("alpha")
        if entry is None:
            return None
        if entry.count != 1:
            self.strengths.append(
                f"'{printable(entry.name)}' holds {entry.count} values; an alpha is a single number."
            )
            return None
        if self.read_scalar is None:
            self.alpha_unread = True
            return None
        return self.read_scalar(entry)


def measure(kind: str, tensors: Mapping[str, Entry]) -> tuple[int, tuple[int, ...]]:
    """Rank and shape of a change, from the shapes of its tensors; shape () when they do not fit one another."""
    shapes = {role: entry.shape for role, entry in tensors.items()}
    if kind == "diff":
        return 0, shapes["diff"]
    if kind == "bias":
        return 0, shapes.get("diff_b") or shapes.get("up_bias") or ()
    matrices = [shape for role, shape in shapes.items() if role not in ("alpha", "magnitude", "up_bias")]
    if any(len(shape) != 2 for shape in matrices):
        return 0, ()
    if kind == "lora":
        (rank, columns), (rows, inner) = shapes["down"], shapes["up"]
        return rank, (rows, columns) if rank == inner else ()
    if kind == "loha":
        first, second = _product(shapes, "loha_w1"), _product(shapes, "loha_w2")
        return shapes["loha_w1_b"][0], first if first == second else ()
    first, second = _product(shapes, "lokr_w1"), _product(shapes, "lokr_w2")
    # As in LyCORIS and ComfyUI, the second factor's rank counts where both are low-rank.
    inner = shapes.get("lokr_w2_b") or shapes.get("lokr_w1_b") or (0,)
    return inner[0], (first[0] * second[0], first[1] * second[1]) if first and second else ()


def _product(shapes: Mapping[str, tuple[int, ...]], name: str) -> tuple[int, ...]:
    """Shape of a factor that is stored whole or as a product of two matrices; () when they do not fit."""
    if name in shapes:
        return shapes[name]
    left, right = shapes[name + "_a"], shapes[name + "_b"]
    return (left[0], right[1]) if left[1] == right[0] else ()


def _split(module: str, group: dict[str, Entry]) -> tuple[list[tuple[str, str, dict[str, Entry]]], str]:
    """Sort a module's tensors into a change of its weight and one of its bias; or say why they do not fit."""
    rest = dict(group)
    parts: list[tuple[str, str, dict[str, Entry]]] = []
    shared = {role: rest.pop(role) for role in ("alpha", "magnitude") if role in rest}
    bias = {role: rest.pop(role) for role in ("diff_b", "up_bias") if role in rest}
    if len(bias) == 2:
        return [], f"'{module}' changes its bias in two ways at once."
    algebra, reason = _algebra(module, rest)
    if reason:
        return [], reason
    if algebra:
        parts.append(("weight", algebra, {**rest, **(shared if algebra != "diff" else {})}))
        if algebra == "diff" and "magnitude" in shared:
            return [], f"'{module}' has magnitudes beside a full weight difference; that has no meaning."
    elif "magnitude" in shared:
        return [], f"'{module}' has magnitudes (DoRA) but no matrices: lora_A and lora_B are missing."
    elif shared and not bias:
        return [], f"'{module}' has an alpha but no matrices: lora_A and lora_B are missing."
    if bias:
        if "up_bias" in bias:
            bias |= {role: entry for role, entry in shared.items() if role == "alpha"}
            bias |= {"down": rest["down"]} if "down" in rest else {}
        parts.append(("bias", "bias", bias))
    return parts, ""


def _algebra(module: str, rest: Mapping[str, Entry]) -> tuple[str, str]:
    """How a weight's change is built from these tensors: (kind, '') or ('', reason); ('', '') when there are none."""
    roles = set(rest)
    kinds = [
        kind for kind, members in (
            ("lora", {"down", "up"}), ("lokr", set(_LOKR)), ("loha", set(_LOHA)), ("diff", {"diff"}),
        ) if roles & members
    ]
    if len(kinds) > 1:
        return "", f"'{module}' changes its weight in two ways at once ({' and '.join(kinds)})."
    if not kinds:
        return "", ""
    if kinds == ["lora"] and len(roles) == 1:
        return "", f"'{module}' lacks its {_role_name('up' if 'down' in roles else 'down')}: the pair is incomplete."
    if kinds == ["loha"] and roles != set(_LOHA):
        return "", f"'{module}' lacks LoHa factors: {', '.join(sorted(set(_LOHA) - roles))} missing."
    if kinds == ["lokr"]:
        for name in ("lokr_w1", "lokr_w2"):
            halves = {name + "_a", name + "_b"}
            if roles & {name, *halves} not in ({name}, halves):
                return "", f"'{module}' has an incomplete or ambiguous LoKr factor {name}: something is missing."
    return kinds[0], ""


def _order(
    problems: list[str], family: tuple[str, str] | None, loose: tuple[str, ...], builder: _Builder,
) -> list[str]:
    """Put the most telling problem first: a foreign family explains every other."""
    if family and builder.recognised.name not in ("full-model", "controlnet"):
        problems = [f"It is made for another model: {family[0]}. {family[1]}", *problems]
    elif builder.recognised.layout is not None:
        strange = next((what for what in map(foreign, loose) if what), "")
        if strange:
            problems.append(f"It also holds {strange}, which cannot be applied here.")
        unknown = [*builder.unknown, *loose]
        if unknown:
            problems.append(
                f"{len(unknown)} of its keys or modules are unmatched: the model has nothing that "
                f"'{printable(unknown[0])}' could mean."
            )
    return [*problems, *builder.broken, *builder.strengths]


def _record_problems(
    record: PeftRecord | None, metadata: Mapping[str, str], adapted: list[Adapted],
) -> list[str]:
    """What the PEFT record and the trainer's metadata contradict."""
    found: list[str] = []
    if record is not None and record.problem:
        found.append(record.problem)
    if record is not None and record.kind not in ("LORA", "LOKR", "LOHA"):
        found.append(f"{record.source} says the method is {printable(record.kind, 40)}, which cannot be applied here.")
    weights = [change for change in adapted if change.parameter == "weight" and change.kind != "diff"]
    with_magnitudes = sum(change.dora for change in weights)
    trained_as_dora = _DORA_ARGUMENT.search(metadata.get("ss_network_args", "")) is not None
    if with_magnitudes < len(weights) and (with_magnitudes or trained_as_dora or (record is not None and record.dora)):
        found.append(
            f"It is a DoRA without {'all ' if with_magnitudes else ''}its magnitudes: {with_magnitudes} of "
            f"{len(weights)} modules have one."
        )
    return found


def _notes(recognised: Recognised, record: PeftRecord | None, builder: _Builder) -> list[str]:
    notes: list[str] = []
    if record is not None and record.alpha is not None:
        how = "alpha / √rank" if record.stabilised else "alpha / rank"
        notes.append(f"Strength is {how} from {record.source}.")
    elif recognised.name == "peft":
        notes.append("No adapter_config.json lies beside this raw PEFT save: alpha is unknown, so 1.0 is assumed.")
    if builder.alpha_unread:
        notes.append("Alpha is stored in the file; only the header was read, so strengths are shown as 1.0.")
    return notes


def _sizes(stems: Mapping[str, Mapping[str, Entry]]) -> list[tuple[str, int, int]]:
    """(stem, out, in) of every stem with a matrix pair; 0 where unknown."""
    found: list[tuple[str, int, int]] = []
    for stem, group in stems.items():
        down, up = group.get("down"), group.get("up")
        found.append((
            stem, up.shape[0] if up and up.shape else 0, down.shape[1] if down and len(down.shape) > 1 else 0,
        ))
    return found


def _loose_sizes(header: Header) -> list[tuple[str, int, int]]:
    return [
        (name.removesuffix(".weight"), entry.shape[0], entry.shape[1])
        for name, entry in header.entries.items() if len(entry.shape) == 2
    ]


def _role_name(role: str) -> str:
    return {"down": "lora_A (lora_down)", "up": "lora_B (lora_up)"}.get(role, role)


def target_modules(adapted: tuple[Adapted, ...]) -> tuple[str, ...]:
    """Distinct module suffixes, in the order of first appearance."""
    return tuple(dict.fromkeys(keys.suffix(change.name) for change in adapted))


def shared_alpha(adapted: tuple[Adapted, ...]) -> float | None:
    """Alpha that all modules share; None when it is absent, unread or mixed."""
    alphas = {change.alpha for change in adapted if change.kind not in ("diff", "bias")}
    return alphas.pop() if len(alphas) == 1 else None


def weight_sizes(adapted: tuple[Adapted, ...]) -> list[tuple[str, int, int]]:
    """(module, out_features, in_features) of every two-dimensional change."""
    return [
        (change.name, change.shape[0], change.shape[1])
        for change in adapted if change.parameter == "weight" and len(change.shape) == 2
    ]
