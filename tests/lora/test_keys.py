"""The table of module names is complete, and flattened names lead back to one path each (see test_reference too)."""

import json

import pytest

from lora import factory
from whichlora.errors import UserError
from whichlora.lora import keys


def test_the_20b_size_has_the_published_number_of_parameters():
    shape = keys.QWEN_IMAGE_20B
    assert shape == keys.ModelShape.from_config({})
    count = sum(rows * columns + rows for rows, columns in shape.linears.values()) + sum(shape.norms.values())
    assert count == 20_430_401_088
    assert len(shape.linears) == 60 * 14 + 6


def test_every_flat_name_leads_back_to_its_own_path():
    names = [*keys.QWEN_IMAGE_20B.linears, *keys.QWEN_IMAGE_20B.norms]
    flat = [name.replace(".", "_") for name in names]
    assert len(set(flat)) == len(names)
    assert [keys.from_flat(name) for name in flat] == names
    assert all(keys.is_module(name) for name in names)


@pytest.mark.parametrize("name", [
    "transformer_blocks_0", "transformer_blocks_x_attn_to_q", "transformer_blocks_00_attn_to_q", "attn_to_q",
    "transformer_blocks_0_attn_to_out", "transformer_blocks_0_attn_to_out_0_1", "img", "",
    "transformer_blocks_0_*img_in", "transformer_blocks_0_img_in", "transformer_blocks.0.attn.to_q",
    "blocks_0_attn_to_q", "transformer_blocks_-1_attn_to_q", "transformer_blocks_٣_attn_to_q", "*attn_to_q",
])
def test_flat_names_of_nothing(name):
    assert keys.from_flat(name) is None


@pytest.mark.parametrize("config", [
    {"num_layers": 0}, {"num_layers": "60"}, {"num_layers": 10**9}, {"attention_head_dim": -1}, {"in_channels": 1.5},
    {"num_layers": True}, {"_class_name": "FluxTransformer2DModel"},
])
def test_senseless_configurations(config):
    with pytest.raises(UserError):
        keys.ModelShape.from_config(config)


def test_from_folder(tmp_path):
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text(json.dumps(factory.TINY), encoding="utf-8")
    shape = keys.ModelShape.from_folder(tmp_path)
    assert shape.width == 24
    assert keys.ModelShape.from_folder(tmp_path / "transformer") == shape
    assert keys.ModelShape.from_folder(tmp_path / "transformer" / "config.json") == shape
    with pytest.raises(UserError, match="No transformer configuration"):
        keys.ModelShape.from_folder(tmp_path / "elsewhere")
    (tmp_path / "transformer" / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="JSON"):
        keys.ModelShape.from_folder(tmp_path)


def test_sizes_are_inferred_from_any_one_layer():
    for name, (rows, columns) in keys.QWEN_IMAGE_20B.linears.items():
        if name.startswith("transformer_blocks.0.") or name in ("img_in", "norm_out.linear", "proj_out", "txt_in"):
            assert keys.infer_shape([(name, rows, columns)]) == keys.QWEN_IMAGE_20B, name
    assert keys.infer_shape([]) is None
    tiny = keys.infer_shape([("transformer_blocks.3.attn.to_q", 24, 24)])
    assert tiny is not None
    assert (tiny.width, tiny.layers) == (24, 4)
