from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(scope="session")
def mina_scene():
    """Mina in the studio, frontal, with her picture at 128×128."""
    from whichlora.tinyworld.characters import mina
    from whichlora.tinyworld.render import render
    from whichlora.tinyworld.state import plain_states

    who, states = mina(), plain_states(1)
    picture, mask = render(who, states)
    return who, states, picture[0], mask[0]


@pytest.fixture(scope="session")
def reader():
    """The figure reader as a function: images n×3×128×128 to outputs by name."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from whichlora.tinyworld import DATA_FOLDER

    path = DATA_FOLDER.parents[1] / "models" / "figure_reader.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(None, {"image": images.numpy()}), strict=True))
