"""The preset names real LoRAs as the catalogue knows them, and resolves to rows that pass the gate on stand-ins."""

from __future__ import annotations

import pytest

from export import projects
from families import tiny
from whichlora.cli.init import create_project
from whichlora.cli.main import main
from whichlora.cli.project import draft_rows, identify_base, open_project
from whichlora.errors import UnknownNameError
from whichlora.plan.candidates import WITHOUT
from whichlora.suite.loading import parse_suite
from whichlora.suite.templating import PRESETS, render_preset
from whichlora.survey import catalog
from whichlora.survey.bases import EDIT_2509, canonical
from whichlora.survey.names import local_name, parse_reference
from whichlora.survey.requires import lightning

STAND_INS = {
    # row → key layout in which its file is published
    "multiple-angles": "", "relight": "", "light-restoration": "", "next-scene": "diffusion_model.",
    "edit-skin": "diffusion_model.", "edit-r1": "base_model.model.",
}


@pytest.fixture(scope="module")
def suite():
    return parse_suite(render_preset("character-2509", name="p", subject="photograph", sources={"count": 5}))


def reference(stack):
    """Repository and file of a stack of one, as a person reads it."""
    return parse_reference(stack.rpartition(":")[0] if stack.rpartition(":")[2].replace(".", "").isdigit() else stack)


def test_at_least_five_named_loras_of_the_catalogue_made_for_the_base(suite):
    assert PRESETS["character-2509"] == EDIT_2509 == suite.base.location
    assert len(suite.candidates) >= 5
    for row in suite.candidates:
        named = reference(row.loras)
        entry = catalog.find(named.repo_id)
        assert entry is not None, row.name
        assert named.file in {file.name for file in entry.files}, row.name
        assert {canonical(base) for base in entry.card_bases} == {EDIT_2509}, row.name
        assert (row.licence == "unknown") is (entry.licence is None), row.name
        needed = {need.repo_id for need in entry.requires}
        if needed:
            assert row.sampler == "lightning-4", f"the card of {row.name} asks for Lightning"


def test_the_sampler_is_the_bases_own_lightning(suite):
    sampler = suite.samplers["lightning-4"]
    need = lightning(EDIT_2509, 4)
    assert sampler.loras == f"{need.repo_id}:{need.file}"
    assert (sampler.num_inference_steps, sampler.true_cfg_scale) == (4, 1.0)
    assert sampler.scheduler["shift_terminal"] is None
    assert sampler.scheduler["base_shift"] == sampler.scheduler["max_shift"] == pytest.approx(1.0986, abs=1e-4)


def test_prompts_are_in_the_language_of_the_card(suite):
    chinese = {row.name for row in suite.candidates if any("\u4e00" <= char <= "\u9fff" for text in row.prompts.values()
                                                           for char in text)}
    assert chinese == {"multiple-angles", "relight", "light-restoration"}
    for row in suite.candidates:
        entry = catalog.find(reference(row.loras).repo_id)
        if row.name in chinese:
            said = "".join(entry.prompts)
            assert all(text[:3] in said for text in row.prompts.values()), "begins as its card's commands do"


def test_it_resolves_against_stand_ins_of_the_right_layout(suite, tmp_path):
    folder = tmp_path / "p"
    base = tiny.build(tmp_path / "base")
    create_project(
        folder, [projects.photograph(tmp_path / "ada.png", 5)], [], template="", preset="character-2509",
        head={"name": "p", "subject": "other", "sources": {"count": 1}, "base": {"location": str(base)}},
    )
    for seed, row in enumerate(suite.candidates):
        named = reference(row.loras)
        tiny.save_lora(folder / "loras" / local_name(named.repo_id, named.file), tiny.lora_tensors(seed),
                       prefix=STAND_INS[row.name], alpha=2.0 if STAND_INS[row.name] == "diffusion_model." else None)
    named = reference(suite.samplers["lightning-4"].loras)
    tiny.save_lora(folder / "loras" / local_name(named.repo_id, named.file), tiny.lora_tensors(99))
    project = open_project(folder)
    family, identified = identify_base(project, "cpu")
    rows, refused = draft_rows(project, family, identified)
    assert refused == []
    found = {row.name: row for row in rows if row.role == "candidate"}
    assert set(STAND_INS) <= set(found)
    assert found["next-scene"].adapters[0].weight == 0.75
    assert found["edit-r1"].adapters[0].weight == 2.0
    assert found["multiple-angles"].sampler.adapters[0].name == rows[1].sampler.adapters[0].name
    assert f"multiple-angles{WITHOUT}lightning-4)" in found, "measured with and without Lightning"
    assert {row.name for row in rows if row.role == "base"} == {"base", "base (lightning-4)"}


def test_the_verbs_know_the_preset(tmp_path, capsys):
    photo = projects.photograph(tmp_path / "ada.png", 5)
    with pytest.raises(SystemExit) as ended:
        main(["init", str(tmp_path / "p"), "--refs", str(photo), "--preset", "character-2509"])
    assert ended.value.code == 0
    assert "whichlora fetch" in capsys.readouterr().out
    for words, message in (
        ([str(tmp_path / "q"), "--preset", "character-2511", "--refs", str(photo)], "character-2509"),
        ([str(tmp_path / "q"), "--preset", "character-2509"], "--refs"),
        # its base and LoRAs are not on this machine: one sentence says how to get them
        ([str(tmp_path / "p"), "--preset", "character-2509"], "whichlora fetch"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["evaluate", *words])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "q").exists()


def test_an_unknown_preset_names_its_neighbours():
    with pytest.raises(UnknownNameError, match="character-2509"):
        render_preset("charakter-2509", name="p", subject="auto", sources={})
