"""The family of Qwen-Image-Edit-2509 and its kin: plug-in, identification and loading.

Serves the 20 B model and a tiny one of the same architecture by configuration alone. The work is done in `_qwen/`:
places and identity (what lies on disk), loading, encode, denoise, adapters, and the session that joins them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from whichlora.errors import MachineError, UserError
from whichlora.families._qwen.identity import fingerprint_places
from whichlora.families._qwen.places import FIRST_CLASS, HINTS, find_places, read_hints, read_json, weight_bytes
from whichlora.families.base import LanguageModel
from whichlora.types import AdapterUse, BaseModel, SamplerProfile

SMALL_BYTES = 200_000_000
"""Weights below this are computed by one thread on a CPU."""


class QwenImageEdit:
    """See `families/base.py` for the contract."""

    name = "qwen_image_edit"
    library_names = ("torch", "diffusers", "transformers")
    """Packages that compute pictures; their versions are part of every cell's identity."""
    memory_profiles = ("bf16", "bf16-streamed", "fp8", "gguf-q8", "nf4")
    """Ways to hold the 20 B model that this version can run (see `machine/memory.py` for what each needs)."""

    def identify(self, location: str, options: Mapping[str, Any]) -> BaseModel:
        """Recognise a base on disk.

        Args:
            location: Diffusers folder, or Hub id in the local Hugging Face cache.
            options: 'dtype' ('auto': fp32 on a CPU, bf16 on a GPU), 'text_positions' ('true' or 'stock'),
                'one_frame_vae', 'profile' ('fp8' or 'nf4') and the near-lossless speed-ups of `_qwen/shortcuts.py`;
                these change pictures and stay in the base's options. 'transformer_file' and 'revision' say where
                weights lie; the fingerprint of the weights stands for them.

        Raises:
            UserError: A part is missing, is a pickle, or belongs to another model.
        """
        from whichlora.families._qwen.session import check_options

        chosen = check_options(options)
        places = find_places(location, options.get("transformer_file"), options.get("revision"))
        hints = read_hints(places.folder)
        return BaseModel(
            id=str(hints.get("id", places.id)), family=self.name, location=places.location,
            fingerprint=fingerprint_places(places), options=chosen,
        )

    def default_sampler(self, base: BaseModel) -> SamplerProfile:
        """What the folder's whichlora.json recommends, else the model card of 2509: 40 steps, guidance 4, ' '.

        The first Qwen-Image-Edit has 50 steps, and its text encoder sees the picture at the size that the VAE does.

        Raises:
            UserError: The hints name a setting that a sampler does not have.
        """
        folder = Path(base.location.partition("::")[0])
        settings: dict[str, Any] = {}
        if read_json(folder / "model_index.json", "the list of its parts").get("_class_name") == FIRST_CLASS:
            settings = {"num_inference_steps": 50, "condition_area_px": SamplerProfile().reference_area_px}
        settings |= read_hints(folder).get("sampler", {})
        try:
            return SamplerProfile(**settings)
        except TypeError as error:
            raise UserError(f"{HINTS} of the base '{base.id}' has wrong sampler settings ({error}).") from error

    def check_file(self, base: BaseModel, path: Path) -> None:
        """Step 1 of the load gate: see from the file alone whether this base can take the LoRA. Loads no torch.

        Raises:
            RefusedError: It cannot; the reason is one sentence.
        """
        from whichlora.families._qwen.files import check_file

        check_file(base, path)

    def merge(self, base: BaseModel, uses: Sequence[AdapterUse], recipe: str, folder: Path) -> AdapterUse:
        """The merged LoRA of some parts, computed once and kept in `folder`. Loads no torch.

        Raises:
            RefusedError: A part cannot be merged by this recipe, is missing or was replaced.
        """
        from whichlora.families._qwen.files import shape_of
        from whichlora.lora.merge import Recipe
        from whichlora.lora.merged import merged_use

        return merged_use(uses, Recipe.parse(recipe), folder, shape_of(base.location))

    def language_model(self, base: BaseModel) -> LanguageModel:
        """The base's text encoder as a vision-language model, not loaded yet (see `_qwen/speaking.py`)."""
        from whichlora.families._qwen.speaking import of_base

        return of_base(find_places(base.location))

    def load(self, base: BaseModel, device: str) -> Any:
        """Open a session; weights are read when they are first needed.

        Raises:
            MachineError: The device or a library is not there.
            UserError: The weights are no longer those that were identified.
        """
        versions = self._versions()
        import torch

        from whichlora.families._qwen.loading import Parts
        from whichlora.families._qwen.profiles import from_environment
        from whichlora.families._qwen.session import QwenSession
        from whichlora.families._qwen.weights import cap_memory

        kind = device.partition(":")[0]
        usable = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not usable.get(kind, False):
            raise MachineError(f"The device '{device}' is not available to torch {torch.__version__}.",
                               fix="Run on 'cpu', or see: whichlora doctor")
        places = find_places(base.location)
        if fingerprint_places(places) != base.fingerprint:
            raise UserError(f"The weights at '{base.location}' changed since the plan was made.",
                            fix="Plan again, so that old and new pictures are not mixed.")
        if kind == "cpu" and weight_bytes(places) < SMALL_BYTES:
            # The products of a tiny model are so small that threads spend their time waiting for one another; on a
            # busy machine two of them are ten times slower than one.
            torch.set_num_threads(1)
        settings = from_environment(base.options)
        if kind == "cuda" and settings.vram_bytes is not None:
            cap_memory(device, settings.vram_bytes)
        wanted = base.options.get("dtype", "auto")
        if wanted == "auto":
            wanted = "float32" if kind == "cpu" and settings.profile == "exact" else "bfloat16"
        return QwenSession(base, Parts(places, device, getattr(torch, wanted)), versions, settings)

    def rehearse(self, device: str, *, toy: bool = False, profile: str | None = None) -> Any:
        """Measure the model at its true size with random weights (see `_qwen/rehearsal.py`).

        Raises:
            MachineError: A library is not installed, or no memory profile works on the device.
        """
        self._versions()
        from whichlora.families._qwen.rehearsal import rehearse

        return rehearse(device, toy=toy, profile=profile)

    def _versions(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for library in self.library_names:
            try:
                found[library] = version(library)
            except PackageNotFoundError as error:
                raise MachineError(f"The library {library} is not installed.",
                                   fix="Install it with: pip install 'whichlora[run]'") from error
        return found


PLUGIN = QwenImageEdit()
