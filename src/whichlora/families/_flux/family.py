"""What the FLUX plug-ins share: options, identification, loading."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from whichlora.errors import MachineError, UserError
from whichlora.families._flux.places import find_place, linear_shapes
from whichlora.types import BaseModel

LIBRARIES = ("torch", "diffusers", "transformers")
_DTYPES = ("auto", "float32", "bfloat16", "float16")


def identify(
    name: str, pipeline_class: str, location: str, options: Mapping[str, Any], own: Mapping[str, Any]
) -> BaseModel:
    """Recognise a base on disk; `own` are the family's options with their defaults.

    Raises:
        UserError: A part is missing or of another model, or an option is unknown.
    """
    known = {"dtype": "auto", **own}
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UserError(f"The base has an unknown option '{unknown[0]}'.", fix=f"Known: {', '.join(known)}.")
    chosen = {key: options.get(key, value) for key, value in known.items()}
    if chosen["dtype"] not in _DTYPES:
        raise UserError(f"The base's option dtype is {chosen['dtype']!r}.", fix=f"Use one of: {', '.join(_DTYPES)}.")
    place = find_place(location, pipeline_class)
    return BaseModel(place.id, name, str(place.folder), place.fingerprint, chosen)


def check_file(base: BaseModel, path: Path) -> None:
    """Step 1 of the load gate, without torch.

    Raises:
        RefusedError: This base cannot take the file whole, or it changes nothing.
    """
    from whichlora.families._flux import loras

    loras.check_file(path, linear_shapes(base.location))


def load(base: BaseModel, device: str, pipeline_class: str, session: Any) -> Any:
    """Open a session.

    Raises:
        MachineError: The device or a library is not there, or diffusers is too old for this family.
        UserError: The weights are no longer those that were identified.
    """
    versions: dict[str, str] = {}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError as error:
            raise MachineError(f"The library {library} is not installed.",
                               fix="Install it with: pip install 'whichlora[run]'") from error
    import diffusers
    import torch

    kind = device.partition(":")[0]
    usable = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not usable.get(kind, False):
        raise MachineError(f"The device '{device}' is not available to torch {torch.__version__}.",
                           fix="Run on 'cpu', or see: whichlora doctor")
    maker = getattr(diffusers, pipeline_class, None)
    if maker is None:
        raise MachineError(f"diffusers {versions['diffusers']} has no {pipeline_class}.", fix="Install a newer one.")
    place = find_place(base.location, pipeline_class)
    if place.fingerprint != base.fingerprint:
        raise UserError(f"The weights at '{base.location}' changed since the plan was made.",
                        fix="Plan again, so that old and new pictures are not mixed.")
    wanted = base.options.get("dtype", "auto")
    if wanted == "auto":
        wanted = "float32" if kind == "cpu" else "bfloat16"
    pipe = maker.from_pretrained(str(place.folder), torch_dtype=getattr(torch, str(wanted)), use_safetensors=True,
                                 local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return session(base, pipe.to(device), place, device, versions)
