"""A tiny but real Qwen-Image-Edit for demonstrations and tests.

Procedural toy figures with exact ground truth, a diffusers pipeline small enough for a
processor, and a set of planted LoRAs whose true worth is known. Import the submodules you
need: everything that touches torch stays out of this file.
"""

from __future__ import annotations

from pathlib import Path

DATA_FOLDER = Path(__file__).parent / "data"
PIPELINE_FOLDER = DATA_FOLDER / "pipeline"
LORA_FOLDER = DATA_FOLDER / "loras"
TRUTH_FILE = DATA_FOLDER / "truth.json"
PROFILE_FILE = DATA_FOLDER / "profile.json"
