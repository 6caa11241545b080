"""What a small machine can see in a picture: faces, pose, person, perceptual distance, figures, alignment.

Every model is a small ONNX file inside the package (`whichlora/models`), loaded on first use and refused when its
SHA-256 differs. Nothing here judges a picture; `metrics` and `suite` do. Importing these modules loads neither
onnxruntime nor OpenCV.
"""
