"""The figure reader as an ONNX file: half-precision weights, single-precision arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from scorer import CLASSES, OUTPUTS, FigureReader
from torch import nn

from whichlora.tinyworld.identity import HAIR_STYLES, HATS
from whichlora.tinyworld.state import BACKGROUNDS, EXPRESSIONS, LIGHTS

OPSET = 17


class _Graph:
    """Nodes and weights of a graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, values: np.ndarray) -> str:
        """A weight stored in half precision and widened when the session loads."""
        self.weights.append(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        self.nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
        return name

    def number(self, name: str, values: np.ndarray) -> str:
        """A constant stored as it is."""
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def apply(self, kind: str, inputs: list[str], output: str, **settings: object) -> str:
        """One operation."""
        self.nodes.append(helper.make_node(kind, inputs, [output], **settings))
        return output


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a convolution with its batch norm folded in."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = conv.weight * scale[:, None, None, None]
    bias = norm.bias - norm.running_mean * scale
    return weight.detach().numpy(), bias.detach().numpy()


def _stages(graph: _Graph, reader: FigureReader, start: str) -> str:
    current = start
    layers = list(reader.stages)
    for i in range(0, len(layers), 3):
        conv, norm = layers[i], layers[i + 1]
        weight, bias = folded(conv, norm)
        names = [current, graph.weight(f"w{i}", weight), graph.weight(f"b{i}", bias)]
        pad = conv.padding[0]
        out = graph.apply("Conv", names, f"conv{i}", strides=list(conv.stride), pads=[pad] * 4)
        current = graph.apply("Relu", [out], f"relu{i}")
    return current


def build_graph(reader: FigureReader) -> onnx.ModelProto:
    """The whole network with named outputs; probabilities for figure_present."""
    graph = _Graph()
    two, one = (graph.number(n, np.array(v, np.float32)) for n, v in (("two", 2), ("one", 1)))
    scaled = graph.apply("Mul", ["image", two], "scaled")
    current = _stages(graph, reader, graph.apply("Sub", [scaled, one], "centred"))
    current = graph.apply("Flatten", [current], "flat", axis=1)
    for name, layer, active in (("hidden", reader.hidden, True), ("heads", reader.heads, False)):
        weight = graph.weight(f"{name}_w", layer.weight.detach().numpy())
        bias = graph.weight(f"{name}_b", layer.bias.detach().numpy())
        current = graph.apply("Gemm", [current, weight, bias], f"{name}_out", transB=1)
        current = graph.apply("Relu", [current], f"{name}_act") if active else current
    sizes = graph.number("sizes", np.array(list(OUTPUTS.values()), np.int64))
    raw = {"embedding": "embedding_raw", "figure_present": "figure_logit"}
    names = [raw.get(name, name) for name in OUTPUTS]
    graph.nodes.append(helper.make_node("Split", [current, sizes], names, axis=1))
    graph.apply("LpNormalization", ["embedding_raw"], "embedding", axis=1, p=2)
    graph.apply("Sigmoid", ["figure_logit"], "figure_present")
    proto = helper.make_graph(
        graph.nodes,
        "figure_reader",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 128, 128])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in OUTPUTS.items()],
        graph.weights,
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def class_names() -> dict[str, tuple[str, ...]]:
    """The classes of each logits output, in order."""
    values = (BACKGROUNDS, LIGHTS, EXPRESSIONS, HAIR_STYLES, HATS, ("without", "with"))
    return dict(zip(CLASSES, values, strict=True))


def export_reader(reader: FigureReader, path: Path) -> None:
    """Write the ONNX file and the JSON beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(build_graph(reader.eval()), path)
    card = {
        "input": {"name": "image", "shape": ["n", 3, 128, 128], "range": [0.0, 1.0], "order": "RGB"},
        "outputs": OUTPUTS,
        "classes": {name: list(values) for name, values in class_names().items()},
        "notes": {
            "embedding": "L2-normalised; compare by cosine",
            "yaw_sincos": "sine and cosine of the camera yaw; + is the viewer's right; atan2(sin, cos)",
            "pitch": "radians; + looks down from above",
            "zoom": "1 is the usual distance, 1.35 a close-up",
            "figure_present": "probability",
            "others": "logits, or colours in 0..1",
        },
    }
    path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")
