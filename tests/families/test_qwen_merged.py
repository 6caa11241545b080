"""A merged row runs on the real code path: the merged file is what the model gets, and the gate sees it."""

from dataclasses import replace

import numpy as np
import pytest

from families import tiny
from families.tiny import candidate, open_session, use
from whichlora import registry
from whichlora.errors import RefusedError
from whichlora.lora.delta import load_canonical
from whichlora.lora.merge import Recipe
from whichlora.run.admit import admit


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.build(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    root = tmp_path_factory.mktemp("loras")
    return (use(tiny.save_lora(root / "a.safetensors", tiny.lora_tensors(1, modules=("attn.to_q",))), 0.7),
            use(tiny.save_lora(root / "b.safetensors", tiny.lora_tensors(2, rank=6, modules=("attn.to_q",))), -0.5))


def merged_row(session, parts, folder, method):
    recipe = Recipe(method, 0.6)
    family = registry.load("families", "qwen_image_edit")
    row = replace(candidate(*parts), combine=recipe.text)
    return replace(row, merged=family.merge(session.base, parts, recipe.text, folder))


def test_the_merged_file_is_in_the_weights_and_passes_the_gate(folder, parts, tmp_path):
    session = open_session(folder)
    row = merged_row(session, parts, tmp_path, "ties")
    report = admit(session, row)
    assert report.modules == tiny.LAYERS
    assert len(report.effects) == 2
    with load_canonical(row.merged.path) as lora:
        for module in lora:
            got = session.weights(module.name) - session.pristine(module.name)
            np.testing.assert_allclose(got, module.delta(), atol=1e-6)
    session.switch(replace(row, adapters=()))
    assert session.touched() == ()


def test_cat_is_the_stack_as_one_file(folder, parts, tmp_path):
    session = open_session(folder)
    session.switch(candidate(*parts))
    stacked = session.weights("transformer_blocks.1.attn.to_q")
    session.switch(merged_row(session, parts, tmp_path, "cat"))
    np.testing.assert_allclose(session.weights("transformer_blocks.1.attn.to_q"), stacked, atol=1e-6)


def test_a_row_whose_file_is_missing_or_another_never_runs_as_a_stack(folder, parts, tmp_path):
    session = open_session(folder)
    row = merged_row(session, parts, tmp_path, "svd")
    with pytest.raises(RefusedError, match="was not merged"):
        session.switch(replace(row, merged=None))
    tiny.save_lora(tmp_path / "x.safetensors", tiny.lora_tensors(9))
    with pytest.raises(RefusedError, match="not the file"):
        session.switch(replace(row, merged=replace(row.merged, path=str(tmp_path / "x.safetensors"))))
    assert session.touched() == ()
