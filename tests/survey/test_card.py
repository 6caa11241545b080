"""Model cards: what people write is read, what they do not write is not invented, hostile ones are harmless."""

import time

import pytest

from whichlora.survey.bases import EDIT_2509
from whichlora.survey.card import read_card, split
from whichlora.survey.requires import lightning
from whichlora.survey.text import clean, markdown
from whichlora.survey.training import from_file_name, from_metadata, merge

CARD = """---
license: apache-2.0
base_model:
- Qwen/Qwen-Image-Edit-2509
base_model_relation: adapter
tags: [lora, image-to-image]
instance_prompt: 将镜头向左旋转45度
widget:
- text: Rotate the camera 45 degrees to the left.
  output: {url: images/a.png}
---
# Multiple angles
Trained with [ai-toolkit](https://github.com/ostris/ai-toolkit) on 320 image pairs for 3,000 steps.

| setting | value |
|---|---|
| Rank | 32 |
| Alpha | 16 |
| learning rate | 1e-4 |

Use it together with **Qwen-Image-Lightning** (`Qwen-Image-Edit-2509-Lightning-8steps-V1.0-bf16.safetensors`).
Recommended: num_inference_steps: 8, true_cfg_scale=1.0, LoRA strength 0.8-1.0
"""


def test_a_full_card():
    card = read_card(CARD)
    assert card.base_models == (EDIT_2509,)
    assert (card.licence, card.relation) == ("apache-2.0", "adapter")
    assert card.prompts[:2] == ("将镜头向左旋转45度", "Rotate the camera 45 degrees to the left.")
    training = card.training
    assert (training.trainer, training.rank, training.alpha, training.steps, training.dataset_size) == (
        "ai-toolkit", 32, 16, 3000, 320)
    assert training.learning_rate == pytest.approx(1e-4)
    assert (card.settings.num_inference_steps, card.settings.true_cfg_scale, card.settings.scale) == (8, 1.0, "0.8-1.0")
    assert card.lightning
    assert card.lightning_file == "Qwen-Image-Edit-2509-Lightning-8steps-V1.0-bf16.safetensors"


@pytest.mark.parametrize(
    "text", ["", "# A LoRA\nIt is nice.", "---\nlicense: [\n---\n# broken", "no front matter\n---\n"]
)
def test_silence_is_not_filled(text):
    card = read_card(text)
    assert card.base_models == ()
    assert card.training.known() == {}
    assert (card.licence, card.prompts, card.lightning) == (None, (), False)
    assert (card.settings.num_inference_steps, card.settings.true_cfg_scale) == (None, None)


@pytest.mark.parametrize(("text", "field", "value"), [
    ("Trained for 2k steps.", "steps", 2000), ("max_train_steps: 5000", "steps", 5000),
    ("训练步数：6000", "steps", 6000),
    ("LoRA rank: 16, trained on musubi-tuner", "trainer", "musubi-tuner"), ("network_dim = 64", "rank", 64),
    ("The training data set has 1,200 images.", "dataset_size", 1200), ("训练数据 500 张", "dataset_size", 500),
    ("所有LoRA训练均在魔搭完成", "trainer", "ModelScope"),
])
def test_training_in_many_words(text, field, value):
    assert getattr(read_card(text).training, field) == value


@pytest.mark.parametrize("text", [
    "Works in 4 steps.", "Generate with 8 inference steps.", "Loads in DiffSynth pipelines.", "Ranked first in 2025.",
])
def test_sampler_steps_and_mentions_are_not_training(text):
    assert read_card(text).training.known() == {}


@pytest.mark.parametrize(("text", "asked"), [
    ("Please use with Qwen-Image-Lightning", True), ("需要配合 Lightning 使用", True),
    ("Works without Lightning.", False),
    ("Not tested with Lightning", False), ("A lightning bolt LoRA", False),
])
def test_lightning_is_required_only_where_the_card_asks(text, asked):
    assert read_card(text).lightning is asked


def test_the_lightning_file_belongs_to_the_base():
    assert lightning(EDIT_2509, 8).file.startswith("Qwen-Image-Edit-2509/Qwen-Image-Edit-2509-Lightning-8steps")
    assert lightning("FLUX.1", 4).file is None


def test_yaml_that_grows_is_not_read():
    bomb = "---\na: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nlicense: mit\n---\nbody"
    assert split(bomb) == ({}, "body")


def test_yaml_that_runs_code_is_not_run():
    assert split("---\na: !!python/object/apply:os.system ['touch /tmp/owned']\n---\nx") == ({}, "x")


def test_a_huge_card_takes_no_time():
    start = time.monotonic()
    read_card("trigger: " + "a" * 200_000)
    read_card("rank " * 50_000)
    read_card("(" * 100_000 + "<" * 100_000)
    read_card(("x" * 120 + "Lightning") * 1500)
    assert time.monotonic() - start < 5


HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07clear", "\x1b]8;;http://evil\x07click\x1b]8;;\x07", "a\u202egpj.exe", "zero\u200bwidth",
    "line\nbreak\r\rreturn", "<script>alert(1)</script>", "[x](javascript:alert(1))", "![x](http://evil/p.png)",
    "| table | break |", "`code`", "# heading", "http://evil.example www.evil.example", "@everyone", "&lt;b&gt;",
    "<img src=x onerror=alert(1)>", "1. list", "- item", "\ud800 lone", "\x9b31m", "***bold***", "~~gone~~", "$x$",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_terminal_text_has_no_controls(text):
    shown = clean(text)
    assert all(char.isprintable() for char in shown)
    assert "\n" not in shown


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_hostile_text_as_text(text):
    """Rendered by two independent settings of a Markdown reader, nothing but text comes out."""
    from markdown_it import MarkdownIt

    for reader in (MarkdownIt("commonmark"), MarkdownIt("gfm-like", {"linkify": False})):
        shown = markdown(text)
        for document in (shown, f"- Note: {shown}", f"| a | b |\n| --- | --- |\n| {shown} | z |"):
            html = reader.render(document)
            for tag in ("<script", "<a ", "<img", "<h1", "<code", "<strong", "<em", "<ol", "<del", "<s>"):
                assert tag not in html, (document, html)
            assert html.count("<li>") == document.startswith("- Note")
            if "<table" in html:
                assert html.count("<td") == 2


def test_long_text_is_cut():
    assert len(clean("x" * 10_000, limit=50)) == 50


def test_header_metadata_of_each_trainer():
    toolkit = {"software": '{"name": "ai-toolkit", "version": "0.1.0"}', "training_info": '{"step": 2750, "epoch": 3}'}
    assert from_metadata(toolkit).known() == {"trainer": "ai-toolkit 0.1.0", "steps": 2750}
    musubi = {"ss_network_module": "networks.lora_qwen_image", "ss_network_dim": "16", "ss_network_alpha": "8",
              "ss_steps": "1200", "ss_num_train_items": "40", "ss_learning_rate": "0.0001"}
    assert from_metadata(musubi).known() == {
        "trainer": "musubi-tuner", "rank": 16, "alpha": 8.0, "steps": 1200, "dataset_size": 40, "learning_rate": 0.0001}
    assert from_metadata({"ot_config": "{}"}).trainer == "OneTrainer"
    peft = {"lora_adapter_metadata": '{"transformer.r": 32, "transformer.lora_alpha": 64}'}
    assert (from_metadata(peft).rank, from_metadata(peft).alpha) == (32, 64)


@pytest.mark.parametrize("metadata", [
    {"software": "[" * 50_000}, {"ss_network_dim": "NaN", "ss_steps": "-3", "ss_learning_rate": "inf"},
    {"training_info": '{"step": true}'}, {"software": '{"name": 7}'},
])
def test_broken_metadata_says_nothing(metadata):
    assert from_metadata(metadata).known() == {}


@pytest.mark.parametrize(("name", "facts"), [
    ("qwen-edit-skin_1.1_000002750.safetensors", {"steps": 2750}), ("Lightning-4steps-V1.0.safetensors", {}),
    ("enhance_r64-v3_000001000.safetensors", {"steps": 1000, "rank": 64}), ("镜头转换.safetensors", {}),
    ("QIE-2511-AnyLight_.safetensors", {}), ("lora_251116.safetensors", {}),
])
def test_file_names_tell_steps_and_rank(name, facts):
    assert from_file_name(name).known() == facts


def test_disagreement_is_told_and_the_most_trusted_wins():
    joined, conflicts = merge(
        ("header", from_metadata({"ss_network_dim": "16"})),
        ("card", read_card("Rank: 64, trained 3000 steps").training))
    assert (joined.rank, joined.steps) == (16, 3000)
    assert conflicts == ("rank: header says 16, card says 64",)
