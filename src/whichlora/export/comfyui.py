"""A ComfyUI workflow of a set-up, in the API form (for scripts) and the form that the editor opens.

Node and input names are those of Comfy-Org/ComfyUI: nodes.py, comfy_extras/nodes_qwen.py, nodes_edit_model.py,
nodes_cfg.py, nodes_flux.py, nodes_model_advanced.py, nodes_sd3.py. ComfyUI resizes for its text encoder, spaces noise
levels and rounds in its own way, so its picture resembles the compared one and is not the same pixel for pixel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whichlora.types import SamplerProfile

_Link = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A node class: its linked inputs and outputs (name → type), and its own settings in the editor's order."""

    links: Mapping[str, str]
    settings: tuple[str, ...]
    outputs: Mapping[str, str]


KINDS: Mapping[str, _Kind] = {
    "UNETLoader": _Kind({}, ("unet_name", "weight_dtype"), {"MODEL": "MODEL"}),
    "CLIPLoader": _Kind({}, ("clip_name", "type", "device"), {"CLIP": "CLIP"}),
    "VAELoader": _Kind({}, ("vae_name",), {"VAE": "VAE"}),
    "LoraLoaderModelOnly": _Kind({"model": "MODEL"}, ("lora_name", "strength_model"), {"MODEL": "MODEL"}),
    "ModelSamplingAuraFlow": _Kind({"model": "MODEL"}, ("shift",), {"MODEL": "MODEL"}),
    "CFGNorm": _Kind({"model": "MODEL"}, ("strength", "pre_cfg"), {"patched_model": "MODEL"}),
    "LoadImage": _Kind({}, ("image",), {"IMAGE": "IMAGE", "MASK": "MASK"}),
    "ImageScale": _Kind({"image": "IMAGE"}, ("upscale_method", "width", "height", "crop"), {"IMAGE": "IMAGE"}),
    "VAEEncode": _Kind({"pixels": "IMAGE", "vae": "VAE"}, (), {"LATENT": "LATENT"}),
    "TextEncodeQwenImageEditPlus": _Kind(
        {"clip": "CLIP", "vae": "VAE", "image1": "IMAGE", "image2": "IMAGE", "image3": "IMAGE"}, ("prompt",),
        {"CONDITIONING": "CONDITIONING"}),
    "ReferenceLatent": _Kind(
        {"conditioning": "CONDITIONING", "latent": "LATENT"}, (), {"CONDITIONING": "CONDITIONING"}),
    "FluxKontextMultiReferenceLatentMethod": _Kind(
        {"conditioning": "CONDITIONING"}, ("reference_latents_method",), {"CONDITIONING": "CONDITIONING"}),
    "EmptySD3LatentImage": _Kind({}, ("width", "height", "batch_size"), {"LATENT": "LATENT"}),
    "KSampler": _Kind(
        {"model": "MODEL", "positive": "CONDITIONING", "negative": "CONDITIONING", "latent_image": "LATENT"},
        ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"), {"LATENT": "LATENT"}),
    "VAEDecode": _Kind({"samples": "LATENT", "vae": "VAE"}, (), {"IMAGE": "IMAGE"}),
    "SaveImage": _Kind({"images": "IMAGE"}, ("filename_prefix",), {}),
}
"""Every node class that is used."""


@dataclass
class Graph:
    """Nodes in order of their numbers."""

    nodes: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)

    def add(self, kind: str, **inputs: Any) -> str:
        """Add a node and return its number; a linked input is (number, output)."""
        known = {*KINDS[kind].links, *KINDS[kind].settings}
        unknown = sorted(set(inputs) - known)
        if unknown:
            raise ValueError(f"{kind} has no input {unknown[0]!r}")
        number = str(len(self.nodes) + 1)
        self.nodes[number] = (kind, inputs)
        return number


@dataclass(frozen=True, slots=True)
class Scene:
    """What the workflow shall do."""

    transformer: str
    """File name in ComfyUI's models/diffusion_models."""
    loras: Sequence[tuple[str, float]]
    """(file name in models/loras, weight)."""
    photos: Sequence[str]
    """File names in ComfyUI's input folder, the edited one first."""
    sizes: Sequence[tuple[int, int]]
    """(height, width) of each photograph as the denoiser sees it; the first is the output's."""
    prompt: str
    seed: int
    sampler: SamplerProfile
    scheduler: Mapping[str, Any]
    """The base's scheduler configuration."""
    zero_cond_t: bool
    """True for 2511, whose photographs are read at noise level 0."""


def build(scene: Scene) -> Graph:
    """The workflow as a graph."""
    graph = Graph()
    sampler = scene.sampler
    model = graph.add("UNETLoader", unet_name=scene.transformer, weight_dtype="default")
    clip = graph.add("CLIPLoader", clip_name="qwen_2.5_vl_7b.safetensors", type="qwen_image", device="default")
    vae = graph.add("VAELoader", vae_name="qwen_image_vae.safetensors")
    for name, weight in scene.loras:
        model = graph.add("LoraLoaderModelOnly", model=(model, 0), lora_name=name, strength_model=weight)
    height, width = scene.sizes[0]
    model = graph.add("ModelSamplingAuraFlow", model=(model, 0), shift=noise_shift(scene, height, width))
    if sampler.true_cfg_scale > 1:
        model = graph.add("CFGNorm", model=(model, 0), strength=1.0, pre_cfg=True)
    pictures: list[_Link] = []
    latents: list[_Link] = []
    for name, (rows, columns) in zip(scene.photos, scene.sizes, strict=True):
        loaded = graph.add("LoadImage", image=name)
        scaled = graph.add("ImageScale", image=(loaded, 0), upscale_method="lanczos", width=columns, height=rows,
                           crop="disabled")
        pictures.append((scaled, 0))
        latents.append((graph.add("VAEEncode", pixels=(scaled, 0), vae=(vae, 0)), 0))
    shown = {f"image{index + 1}": link for index, link in enumerate(pictures)}
    conditions: list[_Link] = []
    for text in (scene.prompt, sampler.negative_prompt):
        node = graph.add("TextEncodeQwenImageEditPlus", clip=(clip, 0), prompt=text, **shown)
        for latent in latents:
            node = graph.add("ReferenceLatent", conditioning=(node, 0), latent=latent)
        if scene.zero_cond_t:
            node = graph.add("FluxKontextMultiReferenceLatentMethod", conditioning=(node, 0),
                             reference_latents_method="index_timestep_zero")
        conditions.append((node, 0))
    empty = graph.add("EmptySD3LatentImage", width=width, height=height, batch_size=1)
    made = graph.add(
        "KSampler", model=(model, 0), positive=conditions[0], negative=conditions[1], latent_image=(empty, 0),
        seed=scene.seed, steps=sampler.num_inference_steps, cfg=sampler.true_cfg_scale, sampler_name="euler",
        scheduler="simple", denoise=1.0,
    )
    decoded = graph.add("VAEDecode", samples=(made, 0), vae=(vae, 0))
    graph.add("SaveImage", images=(decoded, 0), filename_prefix="whichlora")
    return graph


def noise_shift(scene: Scene, height_px: int, width_px: int) -> float:
    """Shift of the noise levels: e^μ where the base shifts by size, μ linear in the tokens as in diffusers.

    Both programs then use σ' = s·σ / (1 + (s − 1)·σ); diffusers' stretch to `shift_terminal` has no node.
    """
    settings = {**scene.scheduler, **scene.sampler.scheduler}
    if not settings.get("use_dynamic_shifting", True):
        return round(float(settings.get("shift", 1.0)), 4)
    low, high = settings.get("base_image_seq_len", 256), settings.get("max_image_seq_len", 8192)
    start, end = settings.get("base_shift", 0.5), settings.get("max_shift", 0.9)
    tokens = (height_px // 16) * (width_px // 16)
    return round(math.exp(start + (end - start) * (tokens - low) / (high - low)), 4)


def api_form(graph: Graph) -> dict[str, Any]:
    """What POST /prompt takes: number → class and inputs."""
    return {
        number: {"class_type": kind, "inputs": {
            name: list(value) if isinstance(value, tuple) else value for name, value in inputs.items()
        }}
        for number, (kind, inputs) in graph.nodes.items()
    }


def editor_form(graph: Graph) -> dict[str, Any]:
    """What the editor opens (workflow version 0.4), laid out in columns."""
    links: list[list[Any]] = []
    outgoing: dict[tuple[str, int], list[int]] = {}
    depth = _depths(graph)
    rows: dict[int, int] = {}
    nodes: list[dict[str, Any]] = []
    for number, (kind, inputs) in graph.nodes.items():
        described = KINDS[kind]
        taken = []
        for slot, (name, kind_of_link) in enumerate(described.links.items()):
            value = inputs.get(name)
            if value is None:
                taken.append({"name": name, "type": kind_of_link, "link": None})
                continue
            links.append([len(links) + 1, int(value[0]), value[1], int(number), slot, kind_of_link])
            outgoing.setdefault((value[0], value[1]), []).append(len(links))
            taken.append({"name": name, "type": kind_of_link, "link": len(links)})
        row = rows[depth[number]] = rows.get(depth[number], -1) + 1
        nodes.append({
            "id": int(number), "type": kind, "pos": [360 * depth[number], 260 * row], "size": [320, 200], "flags": {},
            "order": int(number) - 1, "mode": 0, "inputs": taken, "outputs": [],
            "properties": {"Node name for S&R": kind}, "widgets_values": _widgets(kind, inputs),
        })
    for node in nodes:
        node["outputs"] = [
            {"name": name, "type": kind_of_link, "slot_index": slot, "links": outgoing.get((str(node["id"]), slot), [])}
            for slot, (name, kind_of_link) in enumerate(KINDS[node["type"]].outputs.items())
        ]
    return {"last_node_id": len(nodes), "last_link_id": len(links), "nodes": nodes, "links": links, "groups": [],
            "config": {}, "extra": {}, "version": 0.4}


def _widgets(kind: str, inputs: Mapping[str, Any]) -> list[Any]:
    """Settings in the editor's order; seeds and uploads have one more control there."""
    values: list[Any] = []
    for name in KINDS[kind].settings:
        values.append(inputs[name])
        if (kind, name) == ("KSampler", "seed"):
            values.append("fixed")
        if (kind, name) == ("LoadImage", "image"):
            values.append("image")
    return values


def _depths(graph: Graph) -> dict[str, int]:
    """Column of each node: one behind the last that it reads from."""
    depths: dict[str, int] = {}
    for number, (_, inputs) in graph.nodes.items():
        before = [depths[value[0]] for value in inputs.values() if isinstance(value, tuple)]
        depths[number] = max(before, default=-1) + 1
    return depths
