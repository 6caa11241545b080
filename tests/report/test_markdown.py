"""The document is inert, its tables hold, and its pictures are where it says."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from report.hostile import PAYLOADS
from whichlora.errors import UserError
from whichlora.report import marks
from whichlora.report.markdown import NOTE, write_markdown
from whichlora.report.templates import card

PARSER = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable("table").enable("strikethrough")


def spelled(tokens):
    """Text of parsed Markdown, and the kinds of everything else."""
    kinds, text = set(), []
    for token in tokens:
        for child in token.children or [token]:
            if child.type in {"text", "text_special"}:
                text.append(child.content)
            elif child.type == "softbreak":
                text.append(" ")
            else:
                kinds.add(child.type)
    return "".join(text), kinds


@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_means_only_itself(payload):
    text, kinds = spelled(PARSER.parse(marks.text(payload)))
    assert kinds <= {"paragraph_open", "paragraph_close"}
    from whichlora.report.words import clean

    assert " ".join(text.split()) == " ".join(clean(payload).split())


@given(st.text(alphabet=st.sampled_from(list("<>[]()!*_`#|~&;:/\\-+=1.) \n\tahtpsw@$^{}\"'")), max_size=30))
def test_no_text_becomes_markup(text):
    spoken, kinds = spelled(PARSER.parse(marks.text(text)))
    assert kinds <= {"paragraph_open", "paragraph_close"}
    assert " ".join(spoken.split()) == " ".join(text.split())


@given(st.lists(st.text(alphabet=st.sampled_from(list("|\\ab\n `")), max_size=8), min_size=2, max_size=4))
def test_a_table_keeps_its_columns(cells):
    tokens = PARSER.parse(marks.table(["h"] * len(cells), [[marks.text(cell) for cell in cells]]))
    assert sum(token.type == "td_open" for token in tokens) == len(cells)


def test_the_hostile_document_holds_no_html_and_no_link(hostile, hostile_written, tmp_path):
    text = write_markdown(hostile, tmp_path / "deep" / "doc.md", hostile_written).read_text(encoding="utf-8")
    tokens = [child for token in PARSER.parse(text) for child in (token.children or [token])]
    found = {token.type for token in tokens}
    assert not found & {"html_inline", "html_block", "link_open", "fence", "code_block", "blockquote_open"}
    assert all(token.attrs["src"].startswith("../../") for token in tokens if token.type == "image")


def test_pictures_are_linked_and_exist(project, written, tmp_path):
    path = write_markdown(project.given, written.folder.parent / "docs" / "results.md", written)
    links = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", path.read_text(encoding="utf-8"))
    assert len(links) > 20
    assert all(link.startswith("../report/assets/") for link in links)
    assert all((path.parent / link).is_file() for link in links)
    assert NOTE not in path.read_text(encoding="utf-8")


def test_without_a_report_pictures_are_left_out_with_a_note(project, tmp_path):
    text = write_markdown(project.given, tmp_path / "a b" / "results.md").read_text(encoding="utf-8")
    assert NOTE in text
    found = {child.type for token in PARSER.parse(text) for child in (token.children or [token])}
    assert not found & {"image", "link_open"}


def test_a_folder_is_not_a_file(project, tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        write_markdown(project.given, tmp_path)


def test_limits_are_always_told(project, tmp_path):
    text = write_markdown(project.given, tmp_path / "r.md").read_text(encoding="utf-8")
    for limit in project.given.findings.limits:
        assert marks.text(limit) in text


def test_the_confidence_word_follows_the_findings(project, tmp_path):
    for firm, word in ((True, "**firm**"), (False, "**provisional**")):
        chosen = replace(project.given.findings.recommendation, firm=firm)
        changed = replace(project.given, findings=replace(project.given.findings, recommendation=chosen))
        assert word in write_markdown(changed, tmp_path / f"{firm}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_card_keeps_a_few_harmless_tags(payload):
    html = str(card(f"**bold** {payload}\n\n{payload}")).lower()
    assert set(re.findall(r"<([a-z0-9]+)", html)) <= {
        "p",
        "em",
        "strong",
        "code",
        "ul",
        "ol",
        "li",
        "br",
        "a",
        "blockquote",
        "pre",
    }
    for tag in re.findall(r"<[^>]+>", html):
        assert not re.search(r"\son\w+\s*=|javascript:|style\s*=|src\s*=", tag)
    assert all('rel="noopener noreferrer nofollow"' in tag for tag in re.findall(r"<a [^>]*>", html))
