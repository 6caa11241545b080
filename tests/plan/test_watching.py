"""What is new is found once, by content; rows follow what authors recommend; the memory is never guessed."""

from __future__ import annotations

import json

import pytest

from whichlora.errors import ProjectError, SuiteError
from whichlora.plan.proposal import propose
from whichlora.plan.watching import (
    Memory,
    Seen,
    find_new,
    load_memory,
    load_rows,
    read_catalogue,
    save_memory,
    save_rows,
)
from whichlora.suite.combinations import with_combinations
from whichlora.suite.loading import parse_suite
from whichlora.suite.templating import render_suite
from whichlora.survey.names import local_name

LIGHTNING = "lightx2v/Qwen-Image-Lightning:Qwen-Image-Edit-2509/Fast-4steps.safetensors"


def suite(candidates=(), samplers=None):
    return parse_suite(render_suite(
        "portrait", name="p", base={"location": "Qwen/Qwen-Image-Edit-2509"}, subject="photograph",
        sources={"count": 5}, candidates=list(candidates) or [{"name": "mine", "loras": "mine.safetensors"}],
        samplers=samplers,
    ))


def entry(repo="a/one", file="x.safetensors", sha="1" * 64, **more):
    return {"repo_id": repo, "file": file, "verdict": "compatible", "list": "must", "licence": "mit",
            "files": [{"name": file, "size_bytes": 5, "sha256": sha}], **more}


def names(found):
    return [item.spec.name for item in found]


def test_what_is_in_the_suite_or_was_decided_is_not_new():
    entries = [
        entry("a/here", sha="2" * 64), entry("a/present", sha="3" * 64), entry("a/refused", sha="4" * 64),
        entry("a/new", sha="5" * 64), entry("a/sampler", file="s.safetensors", sha="6" * 64),
    ]
    there = suite([{"name": "old", "loras": "a/here:x.safetensors:0.8 + b.safetensors"}],
                  {"fast": {"loras": "a/sampler:s.safetensors"}})
    memory = Memory({f"a/refused:x.safetensors@{'4' * 64}": Seen("refused", reason="no")})
    found, unclear = find_new(entries, there, memory, present={"p.safetensors": "3" * 64})
    assert [item.repo_id for item in found] == ["a/new"]
    assert unclear == []


def test_a_new_upload_under_an_old_name_is_new_and_an_unknown_hash_is_not():
    memory = Memory({f"a/one:x.safetensors@{'1' * 64}": Seen("added", "one")})
    assert names(find_new([entry(sha="2" * 64)], suite(), memory)[0]) == ["one"]
    assert find_new([entry(sha="1" * 64)], suite(), memory)[0] == []
    assert find_new([entry(sha=None)], suite(), memory)[0] == []


def test_a_new_upload_under_the_name_of_a_row_is_told_and_not_mixed_into_it():
    there = suite([{"name": "old", "loras": "a/one:x.safetensors:0.8"}])
    name = local_name("a/one", "x.safetensors")
    found, told = find_new([entry(sha="2" * 64)], there, Memory(), present={name: "1" * 64})
    assert found == []
    assert len(told) == 1
    assert "a/one:x.safetensors has a new upload" in told[0]
    assert find_new([entry(sha="1" * 64)], there, Memory(), present={name: "1" * 64}) == ([], [])
    assert find_new([entry(sha=None)], there, Memory(), present={name: "1" * 64}) == ([], [])


def test_only_compatible_files_of_the_wanted_lists_count():
    entries = [entry("a/unknown", verdict="unknown"), entry("a/bad", verdict="incompatible"),
               entry("a/skip", list="skip"), entry("a/should", list="should"), entry("a/many", file=None)]
    found, unclear = find_new(entries, suite(), Memory())
    assert [item.repo_id for item in found] == ["a/should"]
    assert len(unclear) == 1
    assert "a/many" in unclear[0]
    assert find_new(entries, suite(), Memory(), lists=("must",))[0] == []


@pytest.mark.parametrize(("scale", "weight", "told"), [
    ("0.8–1.25", 1.0, True), ("0.7–0.8", 0.8, True), ("1.1 to 1.3", 1.1, True), ("1.0", 1.0, False), (None, 1.0, False),
    ("whatever you like", 1.0, False), ("900", 1.0, False),
])
def test_the_weight_is_the_authors(scale, weight, told):
    proposal = propose(entry(settings={"scale": scale}), suite())
    assert proposal.spec.loras == f"a/one:x.safetensors:{weight:g}"
    assert any("weight" in note for note in proposal.notes) is told


def test_a_lora_that_asks_for_lightning_gets_the_suites_sampler_or_a_note():
    wanted = entry(requires=[{"repo_id": LIGHTNING.split(":")[0], "file": LIGHTNING.split(":")[1]}])
    with_it = propose(wanted, suite(samplers={"fast": {"loras": LIGHTNING}}))
    assert (with_it.spec.sampler, with_it.notes) == ("fast", ())
    other = propose(wanted, suite(samplers={"fast": {"loras": LIGHTNING.replace("4steps", "8steps")}}))
    assert other.spec.sampler is None
    assert "no sampler of the suite brings" in other.notes[0]


def test_names_never_collide_and_are_safe_everywhere():
    entries = [entry(f"{owner}/{name}", sha=str(n) * 64) for n, (owner, name) in enumerate(
        [("a", "MINE"), ("b", "mine"), ("a", "b:c|d*<e>"), ("c", "mine")], start=1)]
    entries += [entry("x/..", sha="9" * 64)]
    found, _ = find_new(entries, suite(), Memory())
    taken = ["mine", *(name.casefold() for name in names(found))]
    assert len(taken) == len(set(taken)) == 6
    assert not any(set(name) & set('<>:"|?*/\\') for name in names(found))


def test_rows_and_memory_survive(tmp_path):
    found, _ = find_new([entry(), entry("b/two", sha="2" * 64, settings={"scale": "0.5"})], suite(), Memory())
    save_rows(tmp_path, [item.spec for item in found])
    assert load_rows(tmp_path) == [item.spec for item in found]
    joined = with_combinations(suite(), tmp_path / "watched.yaml")
    assert [row.name for row in joined.candidates] == ["mine", "one", "two"]
    memory = Memory().with_seen(found[0].key, Seen("added", "one"))
    assert save_memory(tmp_path, memory)
    assert not save_memory(tmp_path, memory), "nothing is written when nothing changed"
    assert load_memory(tmp_path) == memory
    save_rows(tmp_path, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["watch.json"]


@pytest.mark.parametrize("text", [
    "{", '{"schema": "x"}', '{"schema": "whichlora.watch-state/1", "seen": {"a": {"b": 1}}}',
])
def test_a_damaged_memory_is_refused(tmp_path, text):
    (tmp_path / "watch.json").write_text(text, encoding="utf-8")
    with pytest.raises(ProjectError, match=r"watch\.json"):
        load_memory(tmp_path)


def test_a_saved_survey_serves_and_anything_else_does_not(tmp_path):
    path = tmp_path / "s.json"
    path.write_text(json.dumps({"schema": "whichlora.survey/1", "entries": [entry()]}), encoding="utf-8")
    assert read_catalogue(path) == [entry()]
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(SuiteError, match="no saved survey"):
        read_catalogue(path)
