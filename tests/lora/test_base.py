"""Which base a file belongs to: what decides, how surely, and which conflicts are shown."""

import json

import pytest

from lora import factory
from whichlora.lora import base
from whichlora.lora.header import read_header
from whichlora.lora.inspect import inspect_header, inspect_lora

FULL = factory.full_targets(60)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")

    def build(metadata=None, name="lora.safetensors", spelling="kohya", targets=None):
        path = factory.sparse(
            folder / "file.safetensors", factory.SPELLINGS[spelling],
            targets or {key: value for key, value in FULL.items() if ".attn.to_q" in key}, 4, metadata,
        )
        return lambda **more: inspect_header(read_header(path), name, **more)
    return build


SPEC = "modelspec.architecture"


@pytest.mark.parametrize(("metadata", "want", "least"), [
    ({SPEC: "Qwen-Image/lora"}, base.QWEN_IMAGE, 0.9), ({SPEC: "Qwen-Image-Edit/lora"}, base.QWEN_EDIT, 0.9),
    ({SPEC: "Qwen-Image-Edit-Plus/lora"}, base.QWEN_EDIT_2509, 0.9),
    ({SPEC: "Qwen-Image-Edit-2511/lora"}, base.QWEN_EDIT_2511, 0.9),
    ({SPEC: "Qwen-Image-Layered/lora"}, base.QWEN_LAYERED, 0.9),
    ({SPEC: "Qwen-Image/lora", "ot_revision": "1"}, base.QWEN_IMAGE, 0.3),
    ({"ss_base_model_version": "qwen_image", "software": json.dumps({"name": "ai-toolkit"})}, base.QWEN_IMAGE, 0.2),
    ({}, base.QWEN_IMAGE, 0.3),
])
def test_trainer_metadata(make, metadata, want, least):
    found = make(metadata)().base
    assert found.id == want
    assert least <= found.confidence < least + 0.15
    assert found.evidence


@pytest.mark.parametrize(("name", "repo", "want"), [
    ("Qwen-Image-Edit-2509-Anything.safetensors", "", base.QWEN_EDIT_2509),
    ("qwen_image_edit_2511_lora.safetensors", "", base.QWEN_EDIT_2511),
    ("QIE-2511-Studio-DeLight.safetensors", "", base.QWEN_EDIT_2511),
    ("qwen-edit-plus.safetensors", "a/Qwen-Image-Edit-2509-x", base.QWEN_EDIT_2509),
    ("lora.safetensors", "owner/Qwen-Edit-2509-Multiple-angles", base.QWEN_EDIT_2509),
    ("多角度灯光-251116.safetensors", "", base.QWEN_IMAGE), ("镜头转换.safetensors", "", base.QWEN_IMAGE),
    ("Qwen-Image-Lightning-4steps.safetensors", "", base.QWEN_IMAGE),
])
def test_names(make, name, repo, want):
    found = make(name=name)(repo=repo).base
    assert found.id == want


def test_a_date_is_no_version(make):
    """'251116' is a day in November, not Edit-2511."""
    found = make(name="多角度灯光-251116.safetensors")().base
    assert found.confidence <= 0.3


@pytest.mark.parametrize("value", ["Qwen/Qwen-Image-Edit-2509", ["Qwen/Qwen-Image-Edit-2509", "someone/merge"]])
def test_the_card_outranks_the_file_name_and_conflicts_are_shown(make, value):
    found = make(name="qwen-image-edit-2511.safetensors")(card={"base_model": value}).base
    assert found.id == base.QWEN_EDIT_2509
    assert any(line.startswith("CONFLICT") and "2511" in line for line in found.evidence)
    alone = make()(card={"base_model": value}).base
    assert found.confidence < alone.confidence


def test_metadata_outranks_the_card(make):
    found = make({SPEC: "Qwen-Image-Edit-2511/lora"})(card={"base_model": "Qwen/Qwen-Image-Edit-2509"}).base
    assert found.id == base.QWEN_EDIT_2511
    assert any("CONFLICT" in line for line in found.evidence)


def test_agreement_raises_confidence(make):
    card = {"base_model": "Qwen/Qwen-Image-Edit-2509"}
    assert make(name="x-2509.safetensors")(card=card).base.confidence > make()(card=card).base.confidence


def test_a_vaguer_name_is_no_conflict(make):
    found = make(name="qwen-image-edit-foo.safetensors")(card={"base_model": "Qwen/Qwen-Image-Edit-2509"}).base
    assert found.id == base.QWEN_EDIT_2509
    assert not any("CONFLICT" in line for line in found.evidence)


@pytest.mark.parametrize("card", [{}, {"base_model": None}, {"base_model": 3}, {"base_model": []},
                                  {"base_model": [None, {}]}, {"base_model": {"a": "b"}}, {"base_model": ""}, None])
def test_odd_cards_are_survived(make, card):
    assert make()(card=card).base.id == base.QWEN_IMAGE


def test_the_keys_win_over_everything_written(make):
    flux = {"single_transformer_blocks.0.attn.to_q": (3072, 3072)}
    found = make({SPEC: "Qwen-Image-Edit-Plus/lora"}, spelling="diffusers", targets=flux)(
        card={"base_model": "Qwen/Qwen-Image-Edit-2509"}).base
    assert found.id == base.FLUX1
    assert any("CONFLICT" in line for line in found.evidence)


def test_qwen_keys_under_a_foreign_name_are_a_conflict(make):
    found = make(name="flux-lora.safetensors")().base
    assert found.id == base.QWEN_IMAGE
    assert any("CONFLICT" in line and "FLUX" in line for line in found.evidence)


def test_nineteen_blocks_of_attention_are_in_doubt_until_something_says_qwen(make):
    targets = {key: value for key, value in factory.full_targets(19).items() if ".attn." in key}
    assert any("FLUX.1" in line for line in make(spelling="diffusers", targets=targets)().base.evidence)
    told = make({SPEC: "Qwen-Image-Edit/lora"}, spelling="diffusers", targets=targets)().base
    assert (told.id, told.confidence > 0.9) == (base.QWEN_EDIT, True)
    twenty = {key: value for key, value in factory.full_targets(20).items() if ".attn." in key}
    assert not any("FLUX.1" in line for line in make(spelling="diffusers", targets=twenty)().base.evidence)


def test_hostile_metadata_are_shown_harmless(make):
    found = make({SPEC: "\x1b[31mQwen-Image-Edit-2511\u202e", "ss_base_model_version": "x" * 10_000})().base
    assert all(line.isprintable() and len(line) < 400 for line in found.evidence)


def test_foreign_families_are_described_not_refused(tmp_path):
    spelling = factory.Spelling("", "transformer.")
    sizes = {"single_transformer_blocks.0.attn.to_qkv_mlp_proj": (90, 30)}
    path = factory.write(tmp_path / "f.safetensors", factory.plain(spelling, sizes, 2, None).tensors)
    facts = inspect_lora(path)
    assert facts.base.id == base.FLUX2
    assert len(facts.unmatched) == 2
    assert facts.modules == ()
