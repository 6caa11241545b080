"""The survey document: the one in the repository is today's, says what it must, and cannot be formatted by a card."""

from dataclasses import replace
from pathlib import Path

import pytest

from whichlora.cli.survey import DOCUMENT_COMMAND
from whichlora.survey import catalog
from whichlora.survey.bases import EDIT_2509
from whichlora.survey.document import offline_origin, to_data, to_markdown
from whichlora.survey.entry import Training, WeightFile
from whichlora.survey.lists import assess

DOCUMENT = Path(__file__).parents[2] / "docs" / "qwen-ecosystem-survey.md"


def written():
    return to_markdown(assess(catalog.load(), EDIT_2509), EDIT_2509, origin=offline_origin(), command=DOCUMENT_COMMAND)


def test_the_document_in_the_repository_is_not_stale():
    assert DOCUMENT.read_text(encoding="utf-8") == written(), f"Write it again: {DOCUMENT_COMMAND}"


def test_it_says_what_the_brief_asks():
    text = written()
    for heading in ("## Must test", "## Should test", "## May be left out", "## In detail", "## How they were trained"):
        assert heading in text
    for entry in catalog.load():
        assert f"`{entry.repo_id}`" in text
    for prompt in ("将镜头向左旋转45度", "移除光影"):
        assert prompt in text
    assert DOCUMENT_COMMAND in text
    assert "unknown" in text


@pytest.mark.parametrize("evil", [
    "</table><script>alert(1)</script>", "[click](javascript:alert(1))", "![i](http://x/p.png)", "a | b | c",
    "\n\n# heading\n\n", "`; rm -rf", "--> <img src=x onerror=alert(1)> <!--", "http://evil.example",
])
def test_a_card_cannot_format_the_document(evil):
    """Every free field is planted; rendered with raw HTML allowed, nothing but text and our own tables come out."""
    from markdown_it import MarkdownIt

    plain = replace(catalog.load()[0], repo_id="x/y")
    planted = replace(
        plain, licence=evil, licence_source=evil, prompts=(evil,), notes=(evil,), specialty=("camera-angle", evil),
        files=(WeightFile(evil + ".safetensors", 10**8),), training=Training(trainer=evil, dataset=evil, basis=(evil,)),
        sources=(evil,), conflicts=(evil,), settings=replace(plain.settings, scale=evil),
    )
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")

    def tags(entry):
        text = reader.render(to_markdown(assess([entry], EDIT_2509), EDIT_2509, origin="x", command="y"))
        return [piece.split(">")[0] for piece in text.split("<")[1:]]

    harmless = replace(
        planted, licence="l", licence_source="l", prompts=("p",), notes=("n",), specialty=("camera-angle", "s"),
        files=(WeightFile("f.safetensors", 10**8),), training=Training(trainer="t", dataset="d", basis=("b",)),
        sources=("s",), conflicts=("c",), settings=replace(plain.settings, scale="1"),
    )
    assert tags(planted) == tags(harmless)


def test_json_is_plain_and_unknown_is_null():
    import json

    data = to_data(assess(catalog.load(), EDIT_2509), EDIT_2509)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    bare = next(entry for entry in data["entries"] if entry["repo_id"] == "djessica/QE-2509-Relight")
    assert (bare["licence"], bare["file"], bare["training"]["rank"]) == (None, None, None)
