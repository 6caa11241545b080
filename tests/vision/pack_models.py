"""Small models in the file layouts of the identity packs, so that the real loading code runs without a download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)
YUNET_SIDE = 640


def save(graph: onnx.GraphProto, path: Path) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def embedder(path: Path, side: int, width: int, name_in: str, name_out: str, pool: int, seed: int = 0) -> Path:
    """Pools the picture and turns it by a fixed random matrix: alike pictures get alike embeddings."""
    cells = 3 * (side // pool) ** 2
    weights = np.random.default_rng(seed).normal(0, cells**-0.5, (cells, width)).astype(np.float32)
    # Subtracting the mean of the cells keeps brightness from being all that counts.
    centre = (np.eye(cells) - 1 / cells).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", [name_in], ["small"], kernel_shape=[pool, pool], strides=[pool, pool]),
        helper.make_node("Flatten", ["small"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], [name_out]),
    ]
    graph = helper.make_graph(
        nodes, "tiny", [helper.make_tensor_value_info(name_in, TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info(name_out, TensorProto.FLOAT, [1, width])],
        [numpy_helper.from_array(centre @ weights, "weights")],
    )
    return save(graph, path)


def yunet(path: Path, height: int, width: int, boxes: list) -> Path:
    """A detector in YuNet's layout that finds the given faces (box, five points; pixels) whatever it is shown.

    Twelve outputs: class and object scores, boxes and points at strides 8, 16 and 32 of the padded picture.
    """
    outputs: list[onnx.ValueInfoProto] = []
    constants: list[onnx.TensorProto] = []
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    constants.append(numpy_helper.from_array(np.zeros((), np.float32), "zero"))
    rows, cols = (-(-side // 32) * 32 for side in (height, width))
    for kind, size in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        for stride in STRIDES:
            grid = np.zeros((1, (rows // stride) * (cols // stride), size), np.float32)
            if stride == 16:
                for box, points in boxes:
                    _plant(grid, kind, stride, cols // stride, box, points)
            name = f"{kind}_{stride}"
            constants.append(numpy_helper.from_array(grid, f"{name}_value"))
            nodes.append(helper.make_node("Add", [f"{name}_value", "nothing"], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(grid.shape)))
    graph = helper.make_graph(
        nodes, "yunet", [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, rows, cols])], outputs,
        constants,
    )
    return save(graph, path)


def _plant(grid: np.ndarray, kind: str, stride: int, cols: int, box: tuple[float, ...], points: list) -> None:
    x, y, w, h = box
    col, row = int((x + w / 2) // stride), int((y + h / 2) // stride)
    values = {
        "cls": [1.0], "obj": [1.0],
        "bbox": [(x + w / 2) / stride - col, (y + h / 2) / stride - row, np.log(w / stride), np.log(h / stride)],
        "kps": [value for px, py in points for value in (px / stride - col, py / stride - row)],
    }[kind]
    grid[0, row * cols + col] = values


def dinov2(folder: Path) -> Path:
    """A tiny DINOv2 with random weights, saved as the Hub keeps it."""
    import torch
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(3)
    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=224, patch_size=14, mlp_ratio=2,
    )
    Dinov2Model(config).eval().save_pretrained(folder, safe_serialization=True)
    return folder
