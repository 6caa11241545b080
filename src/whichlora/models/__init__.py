"""Small ONNX models as package data: what each is, where it comes from and its licence stand in `models.json`.

No code lives here; `whichlora.vision` loads the files and refuses one whose SHA-256 differs.
"""
