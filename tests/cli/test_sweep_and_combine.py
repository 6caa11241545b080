"""sweep, combine, route and chain on a painter project with planted truths."""

import json

import pytest

from cli import rounds
from whichlora.analysis.lint import lint
from whichlora.cli import _more
from whichlora.cli.combine import measure_stacks, propose, standing
from whichlora.cli.main import main
from whichlora.cli.route import judge
from whichlora.cli.sweep import run_sweep
from whichlora.errors import ProjectError, UnknownNameError, UserError
from whichlora.store import Store
from whichlora.suite.combinations import load_combinations
from whichlora.types import Generation

LORAS = {
    "light": {"lighting": 0.7}, "scene": {"background": 0.7},
    "rude": {"background": 0.8, "lighting": -0.6},
    "over": {"lighting": 1.0, "identity_damage": 0.7},
}


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setattr(_more, "rate_pictures", rounds.planted)


@pytest.fixture
def project(tmp_path, planted):
    return rounds.build(tmp_path / "p", LORAS)


def clean(document):
    """Every number of the document's sentences is bound, and nothing is said too strongly."""
    from whichlora.findings import Findings, Recommendation

    advice = Recommendation("undecided", None, "", False, "")
    findings = Findings("t", "painter", 0.7, (), 2, (), (), advice, {}, (), (), {"analysis": {
        "figures": document["bound"]["figures"], "sentences": document["bound"]["sentences"],
        "names": [*LORAS, *document.get("named", ())]}})
    return [problem for sentence in document["sentences"] for problem in lint(sentence, findings)]


def made(folder):
    with Store(folder) as store:
        return set(store.generations())


# ------------------------------------------------------------------ sweep


def test_a_sweep_finds_the_planted_weight_and_judges_it_elsewhere(project):
    """'over' does its edit from weight 0.45 on and loses the person from 0.71 on: the middle is 0.6."""
    with _more.open_measured(project, "cpu", rounds.HERE) as measured:
        document = run_sweep(measured, "over", ["lighting"])
    assert abs(document["optimum"]["weight"] - 0.58) <= 0.1
    assert document["held_out"]["value"] == 1.0
    assert document["against_own"]["value"] == 1.0
    assert set(document["photographs"]["picking"]).isdisjoint(document["photographs"]["judging"])
    assert {point["weight"]: point["rate"] for point in document["points"]}[1.0] == 0.0
    assert clean({**document, "named": []}) == []


def test_a_sweep_uses_the_pictures_that_are_there_and_only_its_own_photographs(project):
    before = made(project)
    plan = rounds.plan_of(project)
    with _more.open_measured(project, "cpu", rounds.HERE) as measured:
        document = run_sweep(measured, "over", ["lighting"])
        assert measured.store.document("sweeps")["over"]["optimum"] == document["optimum"]
        fresh = made(project) - before
        tried = len(document["points"])
        # One photograph picks and one judges; the suite's own weight and the base are there already.
        assert len(fresh) <= tried
        again = run_sweep(measured, "over", ["lighting"])
    assert made(project) - before == fresh
    assert again == json.loads(json.dumps(document)) or again["points"] == document["points"]
    assert rounds.plan_of(project) == plan


def test_wrong_sweeps_are_refused(project, tmp_path):
    with _more.open_measured(project, "cpu", rounds.HERE) as measured:
        with pytest.raises(UnknownNameError, match="light"):
            run_sweep(measured, "lihgt")
        with pytest.raises(UserError, match="0 LoRAs"):
            run_sweep(measured, "base")
        with pytest.raises(UnknownNameError, match="capability"):
            run_sweep(measured, "light", ["colour"])


def test_one_photograph_cannot_judge_itself(tmp_path, planted):
    folder = rounds.build(tmp_path / "q", {"light": LORAS["light"]}, photos=1)
    with _more.open_measured(folder, "cpu", rounds.HERE) as measured, pytest.raises(UserError, match="One photograph"):
        run_sweep(measured, "light")


# ------------------------------------------------------------------ combine


def test_the_complementary_pair_is_measured_and_holds_both(project):
    before = made(project)
    with _more.open_measured(project, "cpu", rounds.HERE) as measured:
        found = propose(measured, 3)
        assert {"light", "scene"} in [set(one.parts) for one in found]
        document = measure_stacks(measured, [one for one in found if set(one.parts) == {"light", "scene"}])
    stack = document["stacks"][0]
    assert stack["name"] == "light & scene"
    # Two photographs show nothing, however clear they look; nothing seems lost.
    assert stack["verdict"] == "open"
    assert not stack["disturbed"]
    assert all(item["rate"] == 1.0 for item in stack["capabilities"])
    assert clean({**document, "named": ["light & scene"]}) == []
    plan = rounds.plan_of(project)
    mine = {cell.id for cell in plan.cells if cell.candidate == "light & scene"}
    assert made(project) - before == mine
    assert [row.name for row in load_combinations(project / "combinations.yaml")] == ["light & scene"]


def test_an_interfering_pair_is_tried_calmer_and_then_rejected(tmp_path, planted, monkeypatch):
    """'rude' undoes 'light' at any weight that still paints backgrounds."""
    folder = rounds.build(tmp_path / "p", {"light": {"lighting": 0.55}, "rude": {"background": 0.7, "lighting": -0.9}})
    with _more.open_measured(folder, "cpu", rounds.HERE) as measured:
        found = propose(measured, 3)
        document = measure_stacks(measured, found)
    tried = [stack["name"] for stack in document["stacks"]]
    assert tried[0] == "light & rude"
    assert "light & rude ×0.8" in tried
    assert len(tried) <= 3
    for stack in document["stacks"]:
        assert "lighting" in stack["disturbed"]
        assert stack["verdict"] != "better"


def test_with_enough_photographs_a_complementary_pair_is_kept_and_an_interfering_one_rejected(tmp_path, planted):
    """'scene' adds what 'light' lacks; 'rude' adds the same and undoes 'light' at every weight that still adds it."""
    folder = rounds.build(tmp_path / "p", {
        "light": {"lighting": 0.55}, "scene": {"background": 0.7}, "rude": {"background": 0.95, "lighting": -0.9},
    }, drawn=6)
    with _more.open_measured(folder, "cpu", rounds.HERE) as measured:
        found = [one for one in propose(measured, 6) if "light" in one.parts]
        assert {frozenset(one.parts) for one in found} == {frozenset({"light", "scene"}), frozenset({"light", "rude"})}
        document = measure_stacks(measured, found)
    good = [stack for stack in document["stacks"] if set(stack["parts"]) == {"light", "scene"}]
    bad = [stack for stack in document["stacks"] if set(stack["parts"]) == {"light", "rude"}]
    assert [stack["verdict"] for stack in good] == ["better"]
    assert good[0]["complementary"]
    assert good[0]["against_better"]["value"] == 0.5
    assert len(bad) > 1, "calmer weights were tried before it was given up"
    assert {stack["verdict"] for stack in bad} == {"worse"}
    assert all(list(stack["lost"]) == ["lighting"] for stack in bad)
    assert any("is rejected: it loses lighting" in text for text in document["sentences"])
    assert clean({**document, "named": ["scene", "rude", *(stack["name"] for stack in document["stacks"])]}) == []


def test_a_stack_that_the_user_named_is_compared_with_its_parts_though_nothing_is_proposed(tmp_path, planted):
    """'strong' does all that 'light' does and more, so no stack of them is proposed."""
    folder = rounds.build(tmp_path / "p", {"light": {"lighting": 0.7}, "strong": {"lighting": 0.7, "background": 0.7}},
                          rows=[{"name": "mine", "loras": "light.safetensors:0.5 + strong.safetensors"}])
    with _more.open_measured(folder, "cpu", rounds.HERE) as measured:
        assert propose(measured, 3) == []
        assert standing(measured) == ["mine"]
        document = measure_stacks(measured, [])
        stored = measured.store.document("combinations")
    assert [stack["name"] for stack in document["stacks"]] == ["mine"]
    assert stored["stacks"][0]["better_part"] == "strong"
    assert document["sentences"][0].startswith("No two of the measured LoRAs complement each other")
    assert "Ahead of the base are light at lighting and strong at background" in document["sentences"][0]
    assert clean({**document, "named": ["mine", "strong"]}) == []
    assert not (folder / "combinations.yaml").exists()


def test_a_merge_can_be_measured_beside_its_stack(project):
    with _more.open_measured(project, "cpu", rounds.HERE) as measured:
        found = [one for one in propose(measured, 3) if set(one.parts) == {"light", "scene"}]
        document = measure_stacks(measured, found, ["cat"])
        assert {stack["name"] for stack in document["stacks"]} == {"light & scene", "light & scene (cat)"}
        merged = measured.row("light & scene (cat)")
    assert merged.merged is not None
    assert all(item["rate"] == 1.0 for stack in document["stacks"] for item in stack["capabilities"])


def test_the_weight_of_a_sweep_enters_the_stack(project):
    from whichlora.cli.combine import swept_weight

    with _more.open_measured(project, "cpu", rounds.HERE) as measured:
        row = measured.row("over")
        assert swept_weight(measured, row) == 1.0
        measured.remember("sweeps", "over", {"use": "open", "own_weight": 1.0, "optimum": {"weight": 0.6}})
        assert swept_weight(measured, row) == 1.0
        measured.remember("sweeps", "over", {"use": "pick", "own_weight": 1.0, "optimum": {"weight": 0.6}})
        assert swept_weight(measured, row) == 0.6


def test_the_command_line_proposes_without_measuring(project, capsys):
    before = made(project)
    with pytest.raises(SystemExit) as stop:
        main(["combine", str(project), "--dry-run", "--json", "--device", "cpu"])
    assert not stop.value.code
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "whichlora.combine/1"
    assert ["light", "scene"] in [one["parts"] for one in told["proposals"]]
    assert told["stacks"] == []
    assert made(project) == before
    assert not (project / "combinations.yaml").exists()


# ------------------------------------------------------------------ route


def test_routing_is_judged_with_the_time_of_a_switch(project):
    with _more.open_measured(project, "cpu", rounds.HERE) as measured:
        document = judge(measured)
        assert set(document["routes"].values()) == {"light", "scene"}
        assert document["switch_seconds"] > 0
        assert document["gain"]["value"] == pytest.approx(0.5)
        assert clean(document) == []
        assert measured.store.document("routing")["routes"] == document["routes"]
        barred = judge(measured, max_seconds=0.0, timing=False)
    assert not barred["chosen"]
    assert barred["barred"]


def test_routing_leaves_the_decision_as_the_suite_wants_it(project, monkeypatch, capsys):
    """The report is written anew; limits, thresholds and weights of the suite stand in it as before."""
    monkeypatch.setattr("whichlora.report.plots.PLOTS", {})
    suite = project / "whichlora.yaml"
    suite.write_text(suite.read_text(encoding="utf-8") + "max_seconds: 0.000001\nthresholds: {lighting: 0.9}\n",
                     encoding="utf-8")
    decided = []
    for verb in ("report", "route"):
        with pytest.raises(SystemExit) as stop:
            main([verb, str(project)])
        assert not stop.value.code, capsys.readouterr().err
        findings = json.loads((project / "report" / "findings.json").read_text(encoding="utf-8"))
        decided.append((findings["recommendation"]["sentence"], findings["manifest"]["command"]))
    assert "over your limit of time" in decided[0][0]
    assert decided[1] == decided[0]


# ------------------------------------------------------------------ chain


def test_a_chain_measures_the_loss_of_each_step_by_real_metrics(tmp_path):
    """The light of the first step must survive a new background; both are read in the last picture."""
    from whichlora.cli.chain import chained_plan, run_chain

    folder = rounds.build(tmp_path / "p", {"light": LORAS["light"], "scene": LORAS["scene"]}, photos=1)
    with _more.open_measured(folder, "cpu", rounds.HERE) as measured:
        light, scene = measured.row("light"), measured.row("scene")
        before = made(folder)
        document = run_chain(measured, (light, "lighting"), (scene, "background"))
        assert (document["links"], document["pictures"]) == (1, 1)
        assert document["first"]["value"] == 1.0
        assert document["steps"] == [["light", "lighting"], ["scene", "background"]]
        assert document["direct"]["value"] == 1.0
        assert clean(document) == []
        fresh = made(folder) - before
        assert len(fresh) == 1
        assert run_chain(measured, (light, "lighting"), (scene, "background"))["whole"] == document["whole"]
        assert made(folder) - before == fresh
        with pytest.raises(UserError, match="of the kind 'lighting'"):
            run_chain(measured, (light, "lighting"), (scene, "lighting"))
        start = first_picture(measured, "light", "lighting")
        plan = chained_plan(measured, scene, [start])
        other = chained_plan(measured, scene, [(*start[:3], measured.store.images.put(b"another picture"))])
    assert {cell.id for cell in plan.cells} == fresh
    assert {cell.id for cell in other.cells}.isdisjoint(fresh)
    assert plan.sources[0].facts["generated"]


def test_a_first_picture_that_failed_is_a_failed_chain_and_not_left_out(tmp_path):
    from whichlora.cli.chain import run_chain

    project = rounds.build(tmp_path / "p", {"light": LORAS["light"], "scene": LORAS["scene"]})
    with _more.open_measured(project, "cpu", rounds.HERE) as measured:
        whole = run_chain(measured, (measured.row("light"), "lighting"), (measured.row("scene"), "background"))
        assert (whole["links"], whole["whole"]["value"], whole["first"]["value"]) == (2, 1.0, 1.0)
        start = first_picture(measured, "light", "lighting")[0]
        failed = Generation(start.id, "failed", None, {}, 0, error="out of memory")
    with Store(project) as store:
        store.forget(start.id)
        store.add_generation(failed)
    with _more.open_measured(project, "cpu", rounds.HERE) as measured:
        half = run_chain(measured, (measured.row("light"), "lighting"), (measured.row("scene"), "background"))
    assert half["links"] == 2
    assert half["first"]["value"] == half["survived"]["value"] == half["second"]["value"] == 0.5
    assert half["whole"]["value"] == 0.5
    assert half["direct"]["value"] == 1.0


def first_picture(measured, row, kind):
    cases = {case.id: case for case in measured.plan.cases}
    second = next(case for case in measured.plan.cases if case.family != kind)
    cell = next(cell for cell in measured.plan.cells if cell.candidate == row and cases[cell.case].family == kind)
    return cell, cases[cell.case], second, measured.store.generations()[cell.id].image


def test_wrong_steps_are_one_sentence(project, capsys):
    for words, said in ((("light", "scene:background"), "is no step"), (("nobody:lighting", "scene:background"), "row"),
                        (("light:colour", "scene:background"), "capability")):
        with pytest.raises(SystemExit) as stop:
            main(["chain", str(project), "--first", words[0], "--then", words[1], "--device", "cpu"])
        assert stop.value.code == 2
        assert said in capsys.readouterr().err


# ------------------------------------------------------------------ the measured project


def test_a_project_that_was_not_run_or_has_another_base_is_refused(project, tmp_path, capsys):
    from families import painters

    painters.base(project / "painter", strengths={**rounds.BASE, "lighting": 0.2})
    with pytest.raises(SystemExit) as stop:
        main(["route", str(project), "--device", "cpu"])
    assert stop.value.code == 1
    assert "not the one" in capsys.readouterr().err
    empty = rounds.build(tmp_path / "e", {"light": LORAS["light"]}, photos=1)
    with Store(empty) as store:
        store._db.execute("DELETE FROM scores")
    with pytest.raises(ProjectError, match="not scored"), _more.open_measured(empty, "cpu"):
        pass
    (empty / "store.sqlite").unlink()
    with pytest.raises(ProjectError), _more.open_measured(empty, "cpu"):
        pass
