"""A suite either says exactly what will be asked, or is refused with its line."""

import pytest

from whichlora.errors import SuiteError, UnknownNameError
from whichlora.suite.loading import load_suite, parse_suite
from whichlora.suite.templating import render_suite, template_names


def text(template="portrait", **changes):
    head = {"name": "mina", "base": {"location": "Qwen/Qwen-Image-Edit-2509"}, "subject": "auto",
            "sources": {"count": 5}, **changes}
    return render_suite(template, **head)


@pytest.mark.parametrize("template", template_names())
def test_every_template_is_a_valid_suite(template):
    suite = parse_suite(text(template))
    assert suite.target == 0.70
    assert {edit.family for edit in suite.edits} >= set(suite.must_have)


def test_portrait_covers_what_the_brief_names():
    edits = {edit.name: edit for edit in parse_suite(text()).edits}
    assert {"forest", "beach", "studio", "sunset", "daylight", "studio-light", "slightly-left", "slightly-right",
            "profile", "higher", "smile"} <= set(edits)
    assert edits["slightly-left"].target["yaw_deg"] == -edits["slightly-right"].target["yaw_deg"]


def test_unknown_template_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="portrait"):
        text("portrat")


def complaint(suite_text):
    with pytest.raises(SuiteError) as caught:
        parse_suite(suite_text, "x.yaml")
    return str(caught.value)


def line_of(suite_text, needle):
    return next(number for number, line in enumerate(suite_text.splitlines(), 1) if needle in line)


def test_unknown_key_names_line_and_neighbour():
    bad = text().replace("must_have:", "must_hav:")
    message = complaint(bad)
    assert f"line {line_of(bad, 'must_hav:')}" in message
    assert "did you mean 'must_have'" in message


def test_unknown_nested_key_names_its_line():
    bad = text().replace('{name: smile, family: expression,', '{name: smile, famly: x, family: expression,')
    message = complaint(bad)
    assert f"line {line_of(bad, 'famly')}" in message
    assert "'family'" in message


def test_a_key_that_stands_twice_is_refused():
    bad = text() + "\ntarget: 0.1\n"
    assert "stands twice" in complaint(bad)
    assert f"line {line_of(bad, 'target: 0.1')}" in complaint(bad)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("target: 0.70", "target: 1.7", "less than 1"),
        ("seeds: [1, 2]", "seeds: [3, 3]", "listed twice"),
        ("seeds: [1, 2]", "seeds: []", "at least 1"),
        ("seeds: [1, 2]", "seeds: [-1]", "greater than or equal to 0"),
        ("must_have: [camera,", "must_have: [trigger,", "no edit of that family"),
        ("name: beach, family", "name: Forest, family", "names must differ"),
        ("keep: [identity, clothes, pose]", "keep: [identty]", "identty"),
        ("name: beach, family", "name: ../beach, family", "pattern"),
        ("candidates: []", "candidates: [{name: base, loras: a.safetensors}]", "taken by a row"),
        ("candidates: []", "candidates: [{name: a, loras: a.safetensors, sampler: fast}]", "known: none"),
        ("candidates: []", "candidates: [{name: a, loras: a.safetensors, prompts: {nose: x}}]", "not listed"),
        ("schema: whichlora.suite/1", "schema: whichlora.suite/9", "whichlora.suite/1"),
    ],
)
def test_wrong_settings_are_refused_with_the_value(before, after, words):
    good = text()
    assert before in good
    assert words in complaint(good.replace(before, after, 1))


@pytest.mark.parametrize("bad", ["", "- a list", "a: [", "a: b: c", "\t", "!!python/object:os.system {}", "&a [*a]"])
def test_what_is_no_suite_is_one_sentence(bad):
    assert "x.yaml" in complaint(bad)


def test_yaml_bomb_is_refused_quickly():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
    )
    assert "x.yaml" in complaint(bomb)


def test_missing_or_binary_file(tmp_path):
    with pytest.raises(SuiteError, match="cannot be read"):
        load_suite(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80" * 10)
    with pytest.raises(SuiteError, match="UTF-8"):
        load_suite(tmp_path / "binary.yaml")


def test_rendering_quotes_what_yaml_would_misread():
    name = "a- b #c '名' {x}"
    assert parse_suite(text(name=name)).name == name
