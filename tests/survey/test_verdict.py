"""Verdicts: planted truths on every combination of sources, their order of trust, and conflicts that are told."""

import itertools

import pytest

from whichlora.survey import bases, catalog
from whichlora.survey.bases import EDIT, EDIT_2509, EDIT_2511, QWEN_21, QWEN_IMAGE
from whichlora.survey.entry import HeaderFacts, SurveyEntry, WeightFile
from whichlora.survey.verdict import choose, judge


def header(base: str, *, declares: bool = True, refused: str = "") -> HeaderFacts:
    return HeaderFacts("diffusers", 16, None, False, 240, base, 0.9, ("planted",), {}, 1000, refused, declares)


def entry(repo: str = "someone/work", *, card: tuple[str, ...] = (), file: str = "weights.safetensors",
          head: HeaderFacts | None = None, size: int = 200_000_000, kind: str = "lora") -> SurveyEntry:
    return SurveyEntry(repo, kind, card_bases=card, files=(WeightFile(file, size, header=head),))


@pytest.mark.parametrize(("name", "base", "certain"), [
    ("Qwen-Edit-2509-Multiple-angles", EDIT_2509, True), ("qwen_image_edit_plus", EDIT_2509, True),
    ("QIE-2511-Studio-DeLight", EDIT_2511, True), ("2511-AnyPose-base-000006250", EDIT_2511, True),
    ("Qwen-Image-Edit-F2P", EDIT, False), ("Qwen-Image-Lightning-4steps", QWEN_IMAGE, False),
    ("Qwen-Image-2.1-LoRAs", QWEN_21, True), ("bfs_flux2_klein_9b", "FLUX.2", True),
    ("flux-kontext-lora", "FLUX.1", True),
    ("多角度灯光-251116", None, False), ("20250911-portrait", None, False), ("z-image-turbo-lora", "Z-Image", True),
])
def test_names_are_read_as_people_mean_them(name, base, certain):
    assert bases.from_name(name) == (base, certain)


@pytest.mark.parametrize(("trained", "target", "expected"), [
    (EDIT_2509, EDIT_2509, "same"), (EDIT, EDIT_2509, "older"), (EDIT_2511, EDIT_2509, "newer"),
    (QWEN_IMAGE, EDIT_2509, "generation"), (QWEN_21, EDIT_2509, "other"), ("FLUX.1", EDIT_2509, "other"),
    ("qwen/qwen-image-edit-2509", EDIT_2509, "same"), ("QuantStack/Qwen-Image-Edit-2509-GGUF", EDIT_2509, "same"),
])
def test_relation_of_bases(trained, target, expected):
    assert bases.relation(trained, target) == expected


VERDICT_OF = {EDIT_2509: "compatible", EDIT: "unknown", EDIT_2511: "unknown", QWEN_21: "incompatible"}


@pytest.mark.parametrize("said", list(itertools.product([None, EDIT_2509, EDIT_2511, QWEN_21], repeat=2)))
def test_header_is_trusted_over_card_and_the_conflict_is_told(said):
    in_header, in_card = said
    item = entry(card=(in_card,) if in_card else (), head=header(in_header) if in_header else None)
    verdict = judge(item, EDIT_2509)
    truth = in_header or in_card
    assert verdict.verdict == (VERDICT_OF[truth] if truth else "unknown")
    assert bool(verdict.conflicts) == bool(in_header and in_card and in_header != in_card)


def test_shapes_of_another_architecture_overrule_everybody():
    item = entry("x/qwen-edit-2509", card=(EDIT_2509,), head=header("black-forest-labs/FLUX.1-dev", declares=False))
    verdict = judge(item, EDIT_2509)
    assert verdict.verdict == "incompatible"
    assert verdict.loads is False
    assert any("card says 2509" in line for line in verdict.conflicts)


def test_shapes_that_all_versions_share_decide_nothing():
    verdict = judge(entry(head=header(QWEN_IMAGE, declares=False)), EDIT_2509)
    assert (verdict.verdict, verdict.loads, verdict.base_id) == ("unknown", True, None)


def test_card_before_file_name_before_repository_name():
    item = entry("x/qwen-edit-2511", card=(EDIT_2509,), file="qwen_edit_2511.safetensors")
    verdict = judge(item, EDIT_2509)
    assert verdict.verdict == "compatible"
    assert len(verdict.conflicts) == 2
    nameless = judge(entry("x/qwen-edit-2511", file="qwen_edit_2509.safetensors"), EDIT_2509)
    assert nameless.verdict == "compatible"
    assert nameless.conflicts == ("file name says 2509, repository name says 2511",)


def test_several_bases_of_one_card_are_no_conflict():
    verdict = judge(entry(card=(EDIT, EDIT_2509)), EDIT_2509)
    assert (verdict.verdict, verdict.conflicts) == ("compatible", ())


def test_each_file_is_judged_by_its_own_base():
    files = tuple(WeightFile(name, 200_000_000) for name in
                  ("head_v5_qwen_image_edit_2511.safetensors", "head_flux2_klein.safetensors",
                   "head_v3_qwen_image_edit_2509.safetensors"))
    item = SurveyEntry("x/heads", "lora", card_bases=(EDIT_2511, EDIT_2509), base_per_file=True, files=files)
    verdict = judge(item, EDIT_2509)
    assert (verdict.verdict, verdict.file) == ("compatible", "head_v3_qwen_image_edit_2509.safetensors")
    assert judge(item, EDIT_2511).file == "head_v5_qwen_image_edit_2511.safetensors"


@pytest.mark.parametrize("kind", ["full", "controlnet"])
def test_what_is_no_lora_is_incompatible_whatever_it_is_named(kind):
    assert judge(entry("x/qwen-edit-2509", card=(EDIT_2509,), kind=kind), EDIT_2509).verdict == "incompatible"


def test_a_broken_download_is_recognised_by_its_size():
    verdict = judge(entry(card=(EDIT_2509,), file="Lightning-4steps.safetensors", size=92_000), EDIT_2509)
    assert verdict.verdict == "incompatible"
    assert "92,000 bytes" in verdict.evidence[0]


def test_a_refused_header_is_incompatible_with_its_reason():
    verdict = judge(entry(card=(EDIT_2509,), head=header("unknown", refused="overlapping tensors")), EDIT_2509)
    assert (verdict.verdict, "overlapping tensors" in verdict.evidence[0]) == ("incompatible", True)


def test_the_file_that_its_author_names_is_chosen():
    files = [WeightFile("face.safetensors", 10**8), WeightFile("head.safetensors", 10**8, preferred=True)]
    assert choose(files).name == "head.safetensors"
    bfs = next(entry for entry in catalog.load() if entry.repo_id == "Alissonerdx/BFS-Best-Face-Swap")
    assert judge(bfs, EDIT_2509).file == "bfs_head_v3_qwen_image_edit_2509.safetensors"


@pytest.mark.parametrize(("names", "expected"), [
    (["a_v1.safetensors", "a_v2.safetensors"], "a_v2.safetensors"),
    (["灯光-251116.safetensors", "灯光-251121.safetensors"], "灯光-251121.safetensors"),
    (["x_000001000.safetensors", "x_000002000.safetensors"], "x_000002000.safetensors"),
    (["x-bf16.safetensors", "x-fp32.safetensors"], "x-bf16.safetensors"),
    (["face.safetensors", "head.safetensors"], None),
    (["x-4steps-V1.0-bf16.safetensors", "x-8steps-V1.0-bf16.safetensors"], None),
    (["2511-base-6250.safetensors", "2511-helper-6000.safetensors"], None),
])
def test_a_file_is_chosen_only_when_nobody_could_mean_another(names, expected):
    chosen = choose([WeightFile(name, 10**8) for name in names])
    assert (chosen.name if chosen else None) == expected
