"""`whichlora judge` on a painter project with planted judges, and with a tiny random Qwen2.5-VL through the command."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import numpy as np
import pytest

from cli import rounds
from whichlora.cli import _more
from whichlora.cli import judge as verb
from whichlora.cli.main import main
from whichlora.metrics.judge.asking import choose_pairs
from whichlora.metrics.judge.pairwise import Answer
from whichlora.review.votes import PairVote, new_id, now, to_row
from whichlora.store import Store

ALL = ("identity", "edit", "defects")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two candidates on two photographs: 'good' edits and keeps the person, 'wrecker' edits and loses it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_more, "rate_pictures", rounds.planted)
        return rounds.build(tmp_path_factory.mktemp("judge") / "p", {
            "good": {"lighting": 1.0, "background": 1.0},
            "wrecker": {"lighting": 1.0, "background": 1.0, "identity_damage": 1.0},
        })


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "p")


def knowing(measured):
    """A judge that looks the metrics' verdicts up by the pictures' bytes: it agrees with them wherever they differ."""
    store = measured.store
    done = store.generations()
    gates = {found.cell.id: found.gates for found in measured.verdicts(measured.plan)}
    by_bytes = {verb._picture(measured, done[cell].image).tobytes(): gates[cell] for cell in gates}
    names = {"identity": "identity", "edit": "edit", "defects": "artefact"}

    def judge(shown):
        a, b = (bool(by_bytes[picture.tobytes()][names[shown.question]]) for picture in (shown.a, shown.b))
        return Answer("tie" if a == b else "A" if a else "B", 0.9)

    return judge


def judged(folder, make_judge, mark="m", asked=ALL, most=60):
    with _more.open_measured(folder, "cpu", rounds.HERE) as measured:
        return verb.judge_project(measured, make_judge(measured), "a planted judge", mark, asked, most)


def test_a_judge_that_sees_what_metrics_see_agrees_with_them_and_a_liar_never_does(folder):
    found = judged(folder, knowing)
    identity, edit, defects = found["metrics"]
    # The base cannot edit and both candidates can: every pair is decided on the edit. Only 'wrecker' loses the person.
    assert (edit["same"], edit["pairs"]) == (8, 8)
    assert (identity["same"], identity["pairs"]) == (4, 4)
    assert defects["pairs"] == 0
    rows = {(row["name"], row["question"]): row for row in found["rows"]}
    assert rows["good", "edit"]["value"] == 1.0
    assert rows["good", "identity"]["value"] == 0.5
    assert rows["wrecker", "identity"]["value"] == 0.0
    assert found["reliable"]

    def liar(measured):
        honest = knowing(measured)
        return lambda shown: Answer({"A": "B", "B": "A", "tie": "tie"}[honest(shown).reply], 0.9)

    lies = judged(folder, liar, mark="liar")
    assert [(row["same"], row["pairs"]) for row in lies["metrics"]] == [(0, 4), (0, 8), (0, 0)]


def test_a_judge_that_always_prefers_the_first_gives_ties_only_and_is_called_unreliable(folder):
    found = judged(folder, lambda measured: lambda shown: Answer("A", 1.0))
    assert found["changed_with_order"] == found["answered"] == found["asked"] == 24
    assert all(row["preferred"] == row["base_preferred"] == 0 and row["value"] == 0.5 for row in found["rows"])
    assert not found["reliable"]
    assert "not worth reading" in found["sentences"][0]
    assert all(row["pairs"] == 0 for row in found["metrics"])


def test_no_answer_of_a_judge_moves_a_gate_a_rate_or_the_decision(folder):
    from whichlora.cli.stages import conclude
    from whichlora.findings import to_json

    def outcome():
        with _more.open_measured(folder, "cpu", rounds.HERE) as measured:
            gates = {found.cell.id: dict(found.gates) for found in measured.verdicts(measured.plan)}
            return gates, to_json(conclude(measured.store, measured.plan, "x"))

    before = outcome()
    judged(folder, lambda measured: lambda shown: Answer("B" if shown.a.mean() > shown.b.mean() else "A", 1.0))
    assert outcome() == before


def test_what_was_answered_is_not_asked_again_and_what_broke_is(folder):
    calls = Counter()

    def half(measured):
        def judge(shown):
            calls[shown.question] += 1
            if shown.question == "edit":
                raise MemoryError("no room")
            return Answer("tie", 1.0)
        return judge

    first = judged(folder, half)
    # The order does not matter to a judge that raises: both orders are asked, and the pair stays open.
    assert calls == {"identity": 16, "edit": 16, "defects": 16}
    assert first["why_unscored"] == ["MemoryError: no room"]
    with _more.open_measured(folder, "cpu", rounds.HERE) as measured:
        assert verb.unanswered(measured, "m", ALL, 60) == 8
        assert verb.unanswered(measured, "another", ALL, 60) == 24
    calls.clear()
    again = judged(folder, lambda measured: lambda shown: calls.update([shown.question]) or Answer("tie", 1.0))
    assert calls == {"edit": 16}
    assert again["answered"] == 24


def test_an_interrupted_judge_loses_nothing(folder):
    def cut(measured):
        left = iter(range(9))

        def judge(shown):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return Answer("tie", 1.0)
        return judge

    with pytest.raises(KeyboardInterrupt):
        judged(folder, cut)
    with _more.open_measured(folder, "cpu", rounds.HERE) as measured:
        assert verb.unanswered(measured, "m", ALL, 60) == 24 - 4


def test_people_and_judge_are_compared_on_the_pairs_that_both_decided(folder):
    with Store(folder) as store:
        plan = rounds.plan_of(folder)
        pairs = [pair for pair in choose_pairs(plan, store.generations(), 60) if pair.row == "good"]
        store.add_votes([
            to_row(PairVote(new_id(), "ann", now(), "edit", *pair.cells[::way], answer, "random", 1.0))
            for pair, way, answer in zip(pairs, (1, -1, 1, 1), ("left", "right", "right", "tie"), strict=True)
        ])
    found = judged(folder, knowing)
    identity, edit, _ = found["people"]
    # Two votes for the candidate (once shown right), one against it, one tie; the judge always prefers the candidate.
    assert (edit["same"], edit["pairs"]) == (2, 3)
    assert identity["pairs"] == 0


def test_pairs_are_the_same_places_for_all_and_spread_over_photographs(folder):
    plan = rounds.plan_of(folder)
    with Store(folder) as store:
        done = store.generations()
    few = choose_pairs(plan, done, 4)
    assert Counter(pair.row for pair in few) == {"good": 2, "wrecker": 2}
    assert len({pair.case.source for pair in few}) == 2
    assert all(pair.images[0] != pair.images[1] for pair in few)
    assert choose_pairs(plan, done, 1)  # one place at least
    base = {cell.id for cell in plan.cells if cell.candidate == "base"}
    assert all(pair.cells[1] in base for pair in few)


# ------------------------------------------------------------------------------------------------------ the real class


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    """A tiny random Qwen2.5-VL with a head of its own, saved as its publishers do: weights, tokenizer, processor."""
    torch = pytest.importorskip("torch")
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

    from whichlora.tinyworld import PIPELINE_FOLDER

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("vlm") / "Tiny-VL"
    config = Qwen2_5_VLConfig.from_pretrained(PIPELINE_FOLDER / "text_encoder")
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = False
    model = Qwen2_5_VLForConditionalGeneration(config)
    processor = Qwen2_5_VLProcessor.from_pretrained(PIPELINE_FOLDER / "processor")
    token = processor.tokenizer.encode("A", add_special_tokens=False)[0]
    with torch.no_grad():
        model.lm_head.weight.zero_()  # knows nothing: every token is as likely
    model.save_pretrained(folder, safe_serialization=True)
    processor.save_pretrained(folder)
    return folder, token


def test_the_command_asks_a_qwen_folder_and_the_report_shows_it(folder, tiny_folder, capsys):
    place, _ = tiny_folder
    with pytest.raises(SystemExit) as ended:
        main(["judge", str(folder), "--model", str(place), "--question", "edit", "--most", "4", "--device", "cpu",
              "--json"])
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "whichlora.judge/1"
    assert found["judge"] == "Tiny-VL"
    assert (found["asked"], found["answered"]) == (4, 0)  # no answer, never a random one
    assert "probability" in found["why_unscored"][0]
    with pytest.raises(SystemExit):
        main(["report", str(folder)])
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "A second opinion by a model" in page
    assert "Tiny-VL was asked 4 times" in page


def test_a_base_without_a_model_and_a_folder_without_a_head_are_refused(folder, tiny_folder, tmp_path, capsys):
    from safetensors.numpy import load_file, save_file

    with pytest.raises(SystemExit) as ended:
        main(["judge", str(folder), "--device", "cpu"])
    assert ended.value.code == 2
    assert "brings no vision-language model" in capsys.readouterr().err
    bare = shutil.copytree(tiny_folder[0], tmp_path / "bare")
    weights = load_file(bare / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, bare / "model.safetensors", {"format": "pt"})
    with pytest.raises(SystemExit) as ended:
        main(["judge", str(folder), "--model", str(bare), "--device", "cpu"])
    assert ended.value.code == 2
    assert "without its language head" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["judge", str(folder), "--model", str(tmp_path), "--device", "cpu"])
    assert ended.value.code == 2
    assert "holds no Qwen2.5-VL" in capsys.readouterr().err


def test_a_head_that_answers_is_read_in_both_orders(folder, tiny_folder, monkeypatch):
    from whichlora.metrics.judge import opening

    found = opening.find_judge(None, tiny_folder[0])
    network, processor = found.load("cpu")
    token = tiny_folder[1]

    def say_first(module, given, output):
        output.logits[..., token] += 50
        return output

    network.register_forward_hook(say_first)
    from whichlora.metrics.judge.qwen import QwenJudge

    said = judged(folder, lambda measured: QwenJudge(network, processor, found.folder), asked=("edit",), most=4)
    assert (said["answered"], said["changed_with_order"]) == (4, 4)
    assert {row["value"] for row in said["rows"]} == {0.5}


def test_the_fingerprint_tells_judges_apart(tiny_folder, tmp_path):
    from safetensors.numpy import load_file, save_file

    from whichlora.metrics.judge.opening import find_judge, judge_fingerprint

    one = find_judge(None, tiny_folder[0])
    other = shutil.copytree(tiny_folder[0], tmp_path / "Tiny-VL")
    assert judge_fingerprint(find_judge(None, other), None) == judge_fingerprint(one, None)
    weights = load_file(other / "model.safetensors")
    weights["lm_head.weight"] = weights["lm_head.weight"] + np.float32(1)
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    assert judge_fingerprint(find_judge(None, other), None) != judge_fingerprint(one, None)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (adapter / name).write_bytes(b"x")
    assert judge_fingerprint(one, adapter) != judge_fingerprint(one, None)


def test_scores_are_no_place_for_a_judge(folder):
    judged(folder, lambda measured: lambda shown: Answer("A", 1.0))
    with Store(folder) as store:
        assert not [score for score in store.scores() if "judge" in score.metric]
