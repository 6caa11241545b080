"""Load the parts of a Qwen-Image-Edit base with diffusers' and transformers' own classes, each on first use.

Nothing is downloaded and no pickle is opened. A single-file transformer must fill the model exactly: a missing or
unknown key refuses it, because a half-filled model makes pictures without complaint.
"""

from __future__ import annotations

import gc
import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any

from whichlora.errors import MachineError, UserError
from whichlora.families._qwen.branches import is_quantised
from whichlora.families._qwen.places import Places, read_json

if TYPE_CHECKING:
    import torch

_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.")
_PROCESSORS = ("Qwen2VLProcessor", "Qwen2_5_VLProcessor")


def quiet() -> None:
    """Silence the libraries' own loading bars: one line a part tells the user nothing."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()


class Parts:
    """The parts of a base on a device, loaded when they are first needed."""

    def __init__(self, places: Places, device: str, dtype: torch.dtype) -> None:
        quiet()
        self.places = places
        self.device = device
        self.dtype = dtype
        self.encoder_device = device
        """Where the text encoder runs; the CPU where the card is too small for it."""
        self._in_host_memory = False

    @cached_property
    def transformer(self) -> Any:
        """The `QwenImageTransformer2DModel`, in evaluation mode."""
        from diffusers import QwenImageTransformer2DModel  # pyright: ignore[reportPrivateImportUsage]

        if self.places.random_weights:
            from whichlora.families._qwen.random_weights import random_transformer

            return self._ready(random_transformer(
                self.places.folder, self.device, self.dtype, blocks=not self._in_host_memory))
        file = self.places.transformer_file
        if file is None:
            model = self._pretrained(QwenImageTransformer2DModel, "transformer")
        elif file.suffix == ".gguf":
            model = self._gguf_transformer(QwenImageTransformer2DModel)
        else:
            model = self._single_file_transformer(QwenImageTransformer2DModel)
        self._check_zero_cond_t(model)
        return self._ready(model)

    @cached_property
    def vae(self) -> Any:
        """The `AutoencoderKLQwenImage`."""
        from diffusers import AutoencoderKLQwenImage  # pyright: ignore[reportPrivateImportUsage]

        if self.places.random_weights:
            from whichlora.families._qwen.random_weights import random_vae

            return self._ready(random_vae(self.places.folder, self.dtype))
        return self._ready(self._pretrained(AutoencoderKLQwenImage, "vae"))

    @cached_property
    def text_encoder(self) -> Any:
        """The `Qwen2_5_VLForConditionalGeneration`."""
        from transformers import Qwen2_5_VLForConditionalGeneration

        if self.places.random_weights:
            from whichlora.families._qwen.random_weights import random_text_encoder

            return self._ready(
                random_text_encoder(self.places.folder, self.encoder_device, self.dtype), self.encoder_device)
        return self._ready(Qwen2_5_VLForConditionalGeneration.from_pretrained(
            str(self.places.folder / "text_encoder"), dtype=self.dtype, use_safetensors=True, local_files_only=True,
        ), self.encoder_device)

    @cached_property
    def processor(self) -> Any:
        """Tokenizer and image processor of the text encoder."""
        import transformers

        index = read_json(self.places.folder / "model_index.json", "the list of its parts")
        entry = index.get("processor") or ["transformers", _PROCESSORS[0]]
        name = entry[1] if isinstance(entry, list) and len(entry) > 1 else ""
        if name not in _PROCESSORS:
            raise UserError(f"The base's processor is a '{name}', which this family does not know.",
                            fix=f"It drives {' and '.join(_PROCESSORS)}.")
        return getattr(transformers, name).from_pretrained(
            str(self.places.folder / "processor"), local_files_only=True
        )

    @cached_property
    def scheduler_config(self) -> dict[str, Any]:
        """Settings of the base's own scheduler."""
        return read_json(self.places.folder / "scheduler" / "scheduler_config.json", "the scheduler")

    def release_encoders(self) -> None:
        """Free text encoder and processor; the VAE stays, because decoding needs it."""
        import torch

        self.__dict__.pop("text_encoder", None)
        self.__dict__.pop("processor", None)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def fill(self) -> Any:
        """What draws a block's parameter for a base of random weights; None for a real base."""
        if not self.places.random_weights:
            return None
        from whichlora.families._qwen.random_weights import draw

        return draw

    def in_host_memory(self) -> Any:
        """The transformer with its blocks in host memory and the rest on the device."""
        if "transformer" in self.__dict__ and not self._in_host_memory:
            self.forget_transformer()
        self._in_host_memory = True
        return self.transformer

    def forget_transformer(self) -> None:
        """Let go of the transformer; the next use loads it again."""
        import torch

        self.__dict__.pop("transformer", None)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _pretrained(self, model_class: Any, part: str) -> Any:
        # Newer versions call the argument 'dtype' and warn; older ones know 'torch_dtype' only.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return model_class.from_pretrained(
                str(self.places.folder), subfolder=part, torch_dtype=self.dtype, use_safetensors=True,
                local_files_only=True,
            )

    def _ready(self, model: Any, device: str | None = None) -> Any:
        model.requires_grad_(False)
        model.eval()
        if self._in_host_memory and hasattr(model, "transformer_blocks"):
            # Blocks stay where the loader left them: stores lay them out, or read them from their files.
            for name, child in model.named_children():
                if name != "transformer_blocks":
                    _settle(child, self.device)
            return model
        return _settle(model, device or self.device)

    def _check_zero_cond_t(self, model: Any) -> None:
        """An old diffusers ignores 2511's flag with a warning and makes other pictures; refuse instead."""
        config = read_json(self.places.folder / "transformer" / "config.json", "the transformer")
        if bool(config.get("zero_cond_t")) != bool(getattr(model, "zero_cond_t", False)):
            raise MachineError("The installed diffusers does not know this base's setting zero_cond_t.",
                               fix="Install diffusers 0.37 or newer.")

    def _gguf_transformer(self, model_class: Any) -> Any:
        from diffusers import GGUFQuantizationConfig  # pyright: ignore[reportPrivateImportUsage]

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            model = model_class.from_single_file(
                str(self.places.transformer_file), config=str(self.places.folder), subfolder="transformer",
                quantization_config=GGUFQuantizationConfig(compute_dtype=self.dtype), torch_dtype=self.dtype,
                local_files_only=True,
            )
        empty = [name for name, weight in model.named_parameters() if weight.is_meta]
        self._refuse_partial(empty, [])
        return model

    def _single_file_transformer(self, model_class: Any) -> Any:
        """Fill a transformer from a ComfyUI-style file, whatever prefix its keys bear."""
        from accelerate import init_empty_weights
        from safetensors import safe_open

        file = self.places.transformer_file
        with init_empty_weights():
            model = model_class.from_config(model_class.load_config(str(self.places.folder / "transformer")))
        wanted = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
        state: dict[str, Any] = {}
        unknown: list[str] = []
        with safe_open(str(file), framework="pt") as reader:
            for key in reader.keys():  # noqa: SIM118 - safe_open is no mapping
                name = _strip(key)
                if name not in wanted:
                    unknown.append(key)
                    continue
                weight = reader.get_tensor(key)
                if tuple(weight.shape) != wanted[name]:
                    raise UserError(
                        f"'{file}' has '{key}' of shape {tuple(weight.shape)}; the base needs {wanted[name]}.",
                        fix="Give the transformer of this very base.",
                    )
                state[name] = weight.to(self.dtype)
        self._refuse_partial([name for name in wanted if name not in state], unknown)
        model.load_state_dict(state, assign=True)
        return model

    def _refuse_partial(self, missing: list[str], unknown: list[str]) -> None:
        """Refuse a transformer file that does not fill the model exactly."""
        file = self.places.transformer_file
        scaled = [key for key in unknown if key.endswith(("scale_weight", "weight_scale", "scale_input", "scaled_fp8"))]
        if scaled:
            raise UserError(f"'{file}' is a scaled fp8 transformer ('{scaled[0]}'), which cannot be compared exactly.",
                            fix="Use the bf16 file or a GGUF.")
        if missing or unknown:
            what = f"lacks {len(missing)} weights ('{missing[0]}', …)" if missing else ""
            extra = f"has {len(unknown)} unknown weights ('{unknown[0]}', …)" if unknown else ""
            raise UserError(f"'{file}' {' and '.join(filter(None, (what, extra)))}.",
                            fix="Give the transformer of this very base.")


def _settle(module: Any, device: str) -> Any:
    """Move a module to its device."""
    module = module.to(device)
    if device == "cpu":
        # Weights mapped from a file lie at odd addresses, where some kernels sum in another order: the same model
        # would make slightly different pictures depending on how its file is laid out.
        for weight in module.parameters():
            if not is_quantised(weight):
                weight.data = weight.data.clone()
    return module


def _strip(key: str) -> str:
    for prefix in _PREFIXES:
        if key.startswith(prefix):
            return key[len(prefix):]
    return key
