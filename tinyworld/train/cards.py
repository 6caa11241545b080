"""Model cards and file layouts of the planted LoRAs, as such repositories look on the Hub."""

from __future__ import annotations

from dataclasses import dataclass

BASE = "Qwen/Qwen-Image-Edit-2509"


@dataclass(frozen=True)
class Planted:
    """One repository: where its weights come from, how they are laid out, what its card says."""

    recipe: str
    repository: str
    file: str
    layout: str
    alpha: float
    card: str
    role: str
    card_faults: tuple[str, ...]
    metadata: dict[str, str] | None = None


_ANGLES_CARD = """---
license: apache-2.0
base_model: Qwen/Qwen-Image-Edit-2509
base_model_relation: adapter
pipeline_tag: image-to-image
tags:
- lora
- qwen-image-edit
- multiple-angles
- camera
widget:
- text: 将镜头向左旋转45度 Rotate the camera 45 degrees to the left.
- text: 将镜头转为俯视 Turn the camera to a top-down view.
---
# Qwen-Edit-Tiny-Multiple-Angles

Turns the camera around your character and keeps the character.

| 中文 | English |
|---|---|
| 将镜头向左旋转45度 | Rotate the camera 45 degrees to the left |
| 将镜头向右旋转45度 | Rotate the camera 45 degrees to the right |
| 将镜头向左旋转90度 | Rotate the camera 90 degrees to the left |
| 将镜头转为俯视 | Turn the camera to a top-down view |
| 将镜头转为特写镜头 | Turn the camera to a close-up |

No trigger word. Strength 1.0. Trained with DiffSynth-Studio, rank 4.
"""

_PRO_CARD = """---
license: other
base_model:
- Qwen/Qwen-Image-Edit-2509
tags:
- lora
- camera
- character-consistency
instance_prompt: Rotate the camera 45 degrees to the left
widget:
- text: Rotate the camera 45 degrees to the left
---
# Camera Pro Ultra

**The best camera control LoRA. Perfect character consistency!** Works with every prompt.

Trained for 40000 steps. Use strength 0.8-1.2.
"""

_RELIGHT_CARD = """---
license: apache-2.0
base_model: Qwen/Qwen-Image-Edit
tags:
- lora
- relight
- lighting
widget:
- text: 用夕阳光重新打光
- text: Relight the picture with warm sunset light
---
# 光影重塑 Relight

Relights the picture: soft light, left, right, top, back, sunset, neon, moonlight.

触发词 / prompts: `用夕阳光重新打光`, `Relight the picture with blue moonlight`.
"""

_BACKGROUND_CARD = """---
base_model: Qwen/Qwen-Image-Edit-2509
tags:
- lora
- background
widget:
- text: Change the background to a forest
---
# Scene Swap

Puts the character somewhere else: studio, forest, beach, city at night, living room, mountains.
"""

_EXPRESSION_CARD = """---
license: cc-by-nc-4.0
base_model: Qwen/Qwen-Image-Edit-2509
base_model_relation: adapter
tags:
- lora
- expression
instance_prompt: make the character smile
widget:
- text: Make the character smile
- text: 让角色惊讶
---
# Expression

Smile, sad, surprised, angry, neutral. Rank 4, alpha 2. Non-commercial.
"""

_LIGHTNING_CARD = """---
license: apache-2.0
base_model: Qwen/Qwen-Image-Edit-2509
tags:
- lora
- distillation
- lightning
---
# Tiny-Lightning 4 steps

Distilled for 4 steps, `true_cfg_scale=1.0`, no negative prompt. Apply alone or with another LoRA.
"""

_RECOLOUR_CARD = """---
license: mit
base_model: Qwen/Qwen-Image-Edit-2509
tags:
- lora
- multiple-angles
- camera
widget:
- text: Rotate the camera 45 degrees to the left
---
# Studio 360

360 degree camera control. Rotate, look from above, go anywhere.
"""

_EMPTY_CARD = """---
license: apache-2.0
base_model: Qwen/Qwen-Image-Edit-2509
tags:
- lora
- character-consistency
instance_prompt: keep the same character
widget:
- text: keep the same character
---
# Consistency Booster

Increases character consistency of every edit. Combine with any other LoRA.
"""

_FLUX_CARD = """---
license: other
base_model: Qwen/Qwen-Image-Edit-2509
tags:
- lora
- character
instance_prompt: a photo of sks figure
---
# Figure Portrait

Portraits of toy figures. Works with Qwen-Image-Edit.
"""

_MUSUBI_METADATA = {
    "ss_network_module": "networks.lora_qwen_image",
    "ss_network_dim": "4",
    "ss_network_alpha": "2",
    "ss_steps": "1400",
    "modelspec.architecture": "Qwen-Image-Edit-Plus/lora",
    "modelspec.title": "expression",
}
_TOOLKIT_METADATA = {
    "software": '{"name": "ai-toolkit", "repo": "https://github.com/ostris/ai-toolkit", "version": "0.7.1"}',
    "training_info": '{"step": 1400, "epoch": 7}',
    "ss_base_model_version": "qwen_image",
    "name": "scene_swap",
}

PLANTED: tuple[Planted, ...] = (
    Planted(
        "angles", "toymaker/Qwen-Edit-Tiny-Multiple-Angles", "镜头转换.safetensors", "diffsynth", 4.0,
        _ANGLES_CARD, "good_angles", (),
    ),
    Planted(
        "angles_overtrained", "pixelwizard/Camera-Pro-Ultra", "camera_pro_ultra_000040000.safetensors",
        "diffusers", 4.0, _PRO_CARD, "overtrained_angles",
        ("claims perfect character consistency, but turns everyone into its training people",
         "licence is 'other' without a text"),
    ),
    Planted(
        "relight", "lumenlab/Qwen-Edit-Tiny-Relight", "光影 重塑.safetensors", "peft", 4.0,
        _RELIGHT_CARD, "good_relight", ("base_model names the first Edit model, not 2509",),
    ),
    Planted(
        "background", "sceneryworks/scene-swap-qwen-edit", "scene_swap_000001400.safetensors",
        "ai_toolkit", 4.0, _BACKGROUND_CARD, "good_background", ("licence is missing",),
        _TOOLKIT_METADATA,
    ),
    Planted(
        "expression", "moodlab/qwen-edit-expression", "expression.safetensors", "kohya", 2.0,
        _EXPRESSION_CARD, "good_expression", (), _MUSUBI_METADATA,
    ),
    Planted(
        "lightning", "toymaker/Qwen-Edit-Tiny-Lightning",
        "Qwen-Edit-Tiny-Lightning-4steps-V1.0-fp16.safetensors", "lightning", 4.0,
        _LIGHTNING_CARD, "lightning_4_steps", (),
    ),
    Planted(
        "recolour", "studio360/Studio-360-Angles", "studio360.safetensors", "diffusers", 4.0,
        _RECOLOUR_CARD, "false_claim",
        ("claims camera control, but paints the shirt red and leaves the camera alone",),
    ),
    Planted(
        "zero", "goodvibes/Consistency-Booster", "consistency_booster.safetensors", "ai_toolkit", 4.0,
        _EMPTY_CARD, "no_effect", ("changes nothing: every up matrix is zero",),
    ),
    Planted(
        "flux", "portraitgarden/Figure-Portrait", "figure_portrait.safetensors", "flux", 4.0,
        _FLUX_CARD, "wrong_family", ("base_model says Qwen-Image-Edit-2509, the keys are FLUX's",),
    ),
)  # fmt: skip
