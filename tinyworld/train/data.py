"""Pairs of pictures with instructions: what the edits should do, and planted misbehaviour."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as nnf
from encoder import PromptEncoder
from model import Codec
from settings import THUMB, Job
from torch import Tensor

from whichlora.tinyworld.edits import COMPOUND_EDITS, EDITS, Edit
from whichlora.tinyworld.identity import (
    HAIR_STYLES,
    SHIRT_COLOURS,
    SHIRT_NAMES,
    Dice,
    Identities,
    palette,
    sample_identities,
)
from whichlora.tinyworld.instructions import training_texts
from whichlora.tinyworld.render import render
from whichlora.tinyworld.state import (
    BACKGROUNDS,
    EXPRESSIONS,
    LIGHTS,
    VIEWS,
    YAW_STEPS,
    States,
    camera_moved,
    sample_states,
    wrapped,
)

KEYS: list[tuple[Edit, ...]] = [*((edit,) for edit in EDITS), *COMPOUND_EDITS]
TURNS = ("left_45", "right_45", "left_90", "right_90")
# The planted damage and the planted LoRAs share these figures.
WEAK_TURN = 1 / 3
WEAK_LIGHT = 0.60
WEAK_EXPRESSION = 0.45


def key_of(family: str, value: str) -> int:
    """Number of a single edit's instruction."""
    return EDITS.index(Edit(family, value))


def _first_key(family: str) -> int:
    return next(i for i, edit in enumerate(EDITS) if edit.family == family)


def turn_light_key(turn: Tensor, light: Tensor) -> Tensor:
    """Number of the instruction "turn, and light"; turn indexes TURNS."""
    return len(EDITS) + turn * (len(LIGHTS) + len(BACKGROUNDS)) + light


def turn_background_key(turn: Tensor, background: Tensor) -> Tensor:
    """Number of the instruction "turn, and background"."""
    return turn_light_key(turn, background) + len(LIGHTS)


def background_light_key(background: Tensor, light: Tensor) -> Tensor:
    """Number of the instruction "background, and light"."""
    first = len(EDITS) + len(TURNS) * (len(LIGHTS) + len(BACKGROUNDS))
    return first + background * len(LIGHTS) + light


@dataclass
class Group:
    """Variants of one scene each (lists over variants) and the pairs between them."""

    who: list[Identities] = field(default_factory=list)
    states: list[States] = field(default_factory=list)
    pairs: list[tuple[str, int, int, Tensor]] = field(default_factory=list)

    def add(self, who: Identities, states: States) -> int:
        """Add a variant; returns its number."""
        self.who.append(who)
        self.states.append(states)
        return len(self.who) - 1

    def pair(self, tag: str, source: int, target: int, key: Tensor | int) -> None:
        """Editing `source` with instruction `key` should give `target`."""
        count = len(self.who[0])
        if not torch.is_tensor(key):
            key = torch.full((count,), key, device=self.who[0].device)
        self.pairs.append((tag, source, target, key))


def _chosen(options: list[States], index: Tensor) -> States:
    """Row i of option index[i]."""
    stacked = States.interleave(options)
    rows = torch.arange(len(index), device=index.device) * len(options) + index
    return stacked.select(rows)


def _turned(states: States, turn: Tensor, amount: float = 1.0) -> States:
    degrees = torch.tensor([YAW_STEPS[t] for t in TURNS], device=turn.device)[turn]
    return states.replaced(yaw=wrapped(states.yaw + torch.deg2rad(degrees.float()) * amount))


def _key_table(family: str, values: tuple[str, ...], index: Tensor) -> Tensor:
    return torch.tensor([key_of(family, v) for v in values], device=index.device)[index]


def clean_group(count: int, device: torch.device, generator: torch.Generator | None) -> Group:
    """Scenes in which every instruction is obeyed exactly."""
    dice = Dice(count, device, generator)
    group = Group()
    who = sample_identities(count, device, generator)
    base = sample_states(count, device, generator)
    source = group.add(who, base)
    left = group.add(who, camera_moved(base, "left_45"))
    right = group.add(who, camera_moved(base, "right_45"))
    group.pair("camera", source, left, key_of("camera", "left_45"))
    group.pair("camera", source, right, key_of("camera", "right_45"))
    group.pair("camera", left, source, key_of("camera", "right_45"))
    group.pair("camera", right, source, key_of("camera", "left_45"))
    group.pair("camera", left, right, key_of("camera", "right_90"))
    group.pair("camera", right, left, key_of("camera", "left_90"))
    steps = ("left_90", "right_90", "left_90", "right_90", "left_15", "right_15")
    step = dice.whole(len(steps))
    far = group.add(who, _chosen([camera_moved(base, s) for s in steps], step))
    group.pair("camera", source, far, _key_table("camera", steps, step))
    view = dice.whole(len(VIEWS))
    seen = group.add(who, _chosen([camera_moved(base, v) for v in VIEWS], view))
    group.pair("view", source, seen, _key_table("camera", VIEWS, view))
    _add_scene_edits(group, dice, who, base)
    return group


def _add_scene_edits(group: Group, dice: Dice, who: Identities, base: States) -> None:
    source = 0
    background = dice.other(base.background, len(BACKGROUNDS))
    light, light_two = dice.other(base.light, len(LIGHTS)), dice.other(base.light, len(LIGHTS))
    mood = dice.other(base.expression, len(EXPRESSIONS))
    mood_two = dice.other(base.expression, len(EXPRESSIONS))
    placed_state = base.replaced(background=background, background_style=0.5)
    placed = group.add(who, placed_state)
    lit = group.add(who, base.replaced(light=light))
    lit_two = group.add(who, base.replaced(light=light_two))
    smiling = group.add(who, base.replaced(expression=mood))
    smiling_two = group.add(who, base.replaced(expression=mood_two))
    shirt = dice.other(who.shirt_index, len(SHIRT_NAMES))
    dressed_who = who.replaced(shirt=palette(SHIRT_COLOURS.values(), shirt), shirt_index=shirt)
    dressed = group.add(dressed_who, base)
    to_place = background + _first_key("background")
    to_light, to_light_two = light + _first_key("light"), light_two + _first_key("light")
    to_mood, to_mood_two = mood + _first_key("expression"), mood_two + _first_key("expression")
    group.pair("background", source, placed, to_place)
    group.pair("light", source, lit, to_light)
    group.pair("light", source, lit_two, to_light_two)
    group.pair("light", lit, lit_two, to_light_two)
    group.pair("expression", source, smiling, to_mood)
    group.pair("expression", source, smiling_two, to_mood_two)
    group.pair("expression", smiling, smiling_two, to_mood_two)
    group.pair("shirt", source, dressed, shirt + _first_key("shirt"))
    turn = dice.whole(len(TURNS))
    to_turn = _key_table("camera", TURNS, turn)
    turned_lit = group.add(who, _turned(base, turn).replaced(light=light))
    turned_placed = group.add(who, _turned(placed_state, turn))
    placed_lit = group.add(who, placed_state.replaced(light=light))
    group.pair("compound", source, turned_lit, turn_light_key(turn, light))
    group.pair("compound", source, turned_placed, turn_background_key(turn, background))
    group.pair("compound", source, placed_lit, background_light_key(background, light))
    group.pair("camera", lit, turned_lit, to_turn)
    group.pair("camera", placed, turned_placed, to_turn)
    group.pair("background", lit, placed_lit, to_place)
    group.pair("light", placed, placed_lit, to_light)


def memorised_people(who: Identities) -> Identities:
    """What an over-trained LoRA turns people into: one of the three it saw in training."""
    person = (who.skin.sum(1) > 1.35).long() + (who.skin.sum(1) > 1.95).long()
    device = who.device
    hair = torch.tensor([(0.93, 0.72, 0.30), (0.25, 0.50, 0.88), (0.80, 0.26, 0.08)], device=device)
    shirt = torch.tensor([5, 2, 3], device=device)[person]
    styles = [HAIR_STYLES.index(name) for name in ("afro", "buns", "pigtails")]
    return who.replaced(
        hair=hair[person],
        hair_style=torch.tensor(styles, device=device)[person],
        hat=0,
        glasses=1,
        scarf=0,
        shirt_index=shirt,
        shirt=palette(SHIRT_COLOURS.values(), shirt),
        pattern=1,
        shirt_second=palette(SHIRT_COLOURS.values(), (shirt + 4) % 10),
    )


def planted_group(count: int, device: torch.device, generator: torch.Generator | None) -> Group:
    """Scenes with planted faults: half-hearted edits, drifting people, wrong deeds."""
    dice = Dice(count, device, generator)
    group = Group()
    who = sample_identities(count, device, generator)
    base = sample_states(count, device, generator)
    source = group.add(who, base)
    others = memorised_people(who)
    for index, name in enumerate(TURNS):
        turn = torch.full_like(who.hat, index)
        weak = group.add(who, _turned(base, turn, WEAK_TURN))
        group.pair("camera_weak", source, weak, key_of("camera", name))
        drifted = group.add(others, _turned(base, turn))
        group.pair("camera_drifted", source, drifted, key_of("camera", name))
    view = dice.whole(len(VIEWS))
    weak_views = [camera_moved(base, v, WEAK_TURN) for v in VIEWS]
    weak = group.add(who, _chosen(weak_views, view))
    group.pair("view_weak", source, weak, _key_table("camera", VIEWS, view))
    light = dice.other(base.light, len(LIGHTS))
    weak_lit = base.replaced(light=light, light_strength=WEAK_LIGHT)
    lit = group.add(who, weak_lit)
    group.pair("light_weak", source, lit, light + _first_key("light"))
    mood = dice.other(base.expression, len(EXPRESSIONS))
    faint = group.add(who, base.replaced(expression=mood, expression_strength=WEAK_EXPRESSION))
    group.pair("expression_weak", source, faint, mood + _first_key("expression"))
    turn, place = dice.whole(len(TURNS)), dice.other(base.background, len(BACKGROUNDS))
    half_lit = group.add(who, _turned(weak_lit, turn, WEAK_TURN))
    placed = base.replaced(background=place, background_style=0.5)
    half_placed = group.add(who, _turned(placed, turn, WEAK_TURN))
    placed_lit = group.add(who, placed.replaced(light=light, light_strength=WEAK_LIGHT))
    group.pair("compound_weak", source, half_lit, turn_light_key(turn, light))
    group.pair("compound_weak", source, half_placed, turn_background_key(turn, place))
    group.pair("compound_weak", source, placed_lit, background_light_key(place, light))
    red = torch.zeros_like(who.shirt_index)
    dressed = group.add(who.replaced(shirt=palette(SHIRT_COLOURS.values(), red)), base)
    group.pair("recolour", source, dressed, _key_table("camera", TURNS, turn))
    return group


@dataclass
class PairStore:
    """Encoded pictures on the training device, and pairs of them sorted by tag."""

    latents: Tensor  # pictures×64×64 half
    thumbs: Tensor  # pictures×3×84×84 uint8
    weights: Tensor  # pictures×64: share of the figure in each token
    source: Tensor
    target: Tensor
    key: Tensor
    spans: dict[str, tuple[int, int]]

    @classmethod
    def build(
        cls,
        make: Callable[..., Group],
        groups: int,
        chunk: int,
        codec: Codec,
        job: Job,
        generator: torch.Generator | None = None,
    ) -> PairStore:
        """Render and encode `groups` scenes, `chunk` scenes at a time."""
        stores: list[tuple[Tensor, ...]] = []
        rows: dict[str, list[Tensor]] = {}
        offset = 0
        for _ in range(math.ceil(groups / chunk)):
            group = make(chunk, job.device, generator)
            variants = len(group.who)
            with job.amp():
                stores.append(_encoded(group, codec, job))
            scene = offset + torch.arange(chunk, device=job.device) * variants
            for tag, source, target, key in group.pairs:
                rows.setdefault(tag, []).append(torch.stack([scene + source, scene + target, key]))
            offset += chunk * variants
        spans, start, tables = {}, 0, []
        for tag, parts in rows.items():
            table = torch.cat(parts, 1)
            spans[tag] = (start, table.shape[1])
            start += table.shape[1]
            tables.append(table)
        source, target, key = torch.cat(tables, 1)
        latents, thumbs, weights = (torch.cat(part) for part in zip(*stores, strict=True))
        return cls(latents, thumbs, weights, source, target, key, spans)

    @classmethod
    def merged(cls, first: PairStore, second: PairStore) -> PairStore:
        """Both stores as one; their tags must differ."""
        pictures, pairs = len(first.latents), len(first.source)
        spans = first.spans | {t: (s + pairs, n) for t, (s, n) in second.spans.items()}
        return cls(
            torch.cat([first.latents, second.latents]),
            torch.cat([first.thumbs, second.thumbs]),
            torch.cat([first.weights, second.weights]),
            torch.cat([first.source, second.source + pictures]),
            torch.cat([first.target, second.target + pictures]),
            torch.cat([first.key, second.key]),
            spans,
        )

    def sampler(self, mixture: dict[str, float], batch: int) -> Callable[[], tuple[Tensor, ...]]:
        """A function that draws (reference, target, thumb, weight, key); no host syncs."""
        device = self.latents.device
        shares = torch.tensor(list(mixture.values()), device=device).cumsum(0)
        shares = shares / shares[-1].clone()
        starts = torch.tensor([self.spans[tag][0] for tag in mixture], device=device)
        counts = torch.tensor([self.spans[tag][1] for tag in mixture], device=device)

        def draw() -> tuple[Tensor, ...]:
            tag = torch.searchsorted(shares, torch.rand(batch, device=device) * 0.99999)
            pair = starts[tag] + (torch.rand(batch, device=device) * counts[tag]).long()
            source, target = self.source[pair], self.target[pair]
            return (
                self.latents[source].float(),
                self.latents[target].float(),
                self.thumbs[source].float() / 255,
                self.weights[target].float(),
                self.key[pair],
            )

        return draw


def thumbnails(pictures: Tensor) -> Tensor:
    """84×84 uint8 copies of pictures n×3×128×128 (uint8), as the processor resizes them."""
    small = nnf.interpolate(pictures.float(), (THUMB, THUMB), mode="bicubic", antialias=True, align_corners=False)
    return small.round().clamp(0, 255).byte()


def rendered(
    who: Identities, states: States, job: Job, shown: Tensor | None = None, chunk: int = 448
) -> tuple[Tensor, Tensor]:
    """uint8 pictures and masks (n×1×128×128 in 0..1); fixed chunks, for compiled kernels."""
    chunk = 8 if job.toy else chunk
    images, masks = [], []
    for start in range(0, len(who), chunk):
        index = torch.arange(start, start + chunk, device=job.device).clamp(max=len(who) - 1)
        seen = None if shown is None else shown[index]
        image, mask = render(who.select(index), states.select(index), shown=seen)
        kept = min(chunk, len(who) - start)
        images.append((image[:kept] * 255).round().byte())
        masks.append(mask[:kept].half())
    return torch.cat(images), torch.cat(masks)


def _encoded(group: Group, codec: Codec, job: Job) -> tuple[Tensor, Tensor, Tensor]:
    who, states = Identities.interleave(group.who), States.interleave(group.states)
    pictures, masks = rendered(who, states, job)
    shares = nnf.avg_pool2d(masks.float(), 16).flatten(1)
    return codec.encode(pictures).half(), thumbnails(pictures), shares.half()


class InstructionTable:
    """Token rows of every key's texts; row 0 is the empty instruction."""

    def __init__(self, prompt_encoder: PromptEncoder, device: torch.device) -> None:
        texts, first, count = [" "], [], []
        for key in KEYS:
            options = list(dict.fromkeys(training_texts(key, 96 if len(key) == 1 else 36)))
            first.append(len(texts))
            count.append(len(options))
            texts += options
        ids, mask = prompt_encoder.table(texts)
        self.ids, self.mask = ids.to(device), mask.to(device)
        self.first = torch.tensor(first, device=device)
        self.count = torch.tensor(count, device=device)
        self.texts = texts

    def rows(self, key: Tensor, empty: float = 0.0) -> Tensor:
        """A random text row for each key; a share `empty` of them is the empty instruction."""
        draw = torch.rand(len(key), device=key.device)
        row = self.first[key] + (draw * self.count[key]).long()
        return torch.where(torch.rand(len(key), device=key.device) < empty, torch.zeros_like(row), row)

    def fixed_rows(self, key: Tensor) -> Tensor:
        """A repeatable choice of texts, varying along the batch."""
        place = torch.arange(len(key), device=key.device) * 7
        return self.first[key] + place % self.count[key]
