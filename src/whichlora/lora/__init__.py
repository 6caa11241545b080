"""Understand LoRA files: read, recognise, check and normalise them, with numpy alone."""
