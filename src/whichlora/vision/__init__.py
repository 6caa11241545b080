"""Small vision models behind plain functions: face detection, identity, mesh and pose, person mask, LPIPS, figure reader.

onnxruntime, OpenCV and numpy only: no torch. Used by source-photograph checks and by metrics.
"""
