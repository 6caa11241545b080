"""Relevance and lists: claims that should count do, claims that should not do not, and the brief's own names appear."""

from dataclasses import replace

import pytest

from whichlora.survey import catalog
from whichlora.survey.bases import EDIT_2509, EDIT_2511
from whichlora.survey.entry import AXES, SurveyEntry, WeightFile
from whichlora.survey.lists import assess
from whichlora.survey.relevance import rate, specialty_from

CATALOGUE = catalog.load()


def test_every_rating_is_1_to_5_with_a_reason():
    for entry in CATALOGUE:
        ratings = rate(entry)
        assert list(ratings) == list(AXES)
        for rating in ratings.values():
            assert 1 <= rating.value <= 5
            assert rating.reason


@pytest.mark.parametrize(("texts", "word"), [
    (("Qwen-Edit-2509-Multiple-angles",), "camera-angle"), (("x", "将镜头向左旋转45度"), "camera-angle"),
    (("QIE-2511-Studio-DeLight",), "light-removal"), (("x", "移除光影"), "light-removal"),
    (("QwenEdit_Consistance_Edit",), "consistency"), (("ThisPerson",), "identity"), (("headswap-qwen",), "head-swap"),
    (("Relight", "重新照明"), "relight"), (("White_to_Scene",), "scene"), (("Photo-to-Anime",), "style"),
])
def test_specialties_are_read_from_names_and_prompts(texts, word):
    assert word in specialty_from(*texts)


def test_a_mask_lora_is_no_identity_lora():
    entry = SurveyEntry("x/face-seg", "lora", specialty=("face-segmentation", "identity"))
    assert rate(entry)["identity"].value == 1


def test_quality_rises_with_signs_and_falls_with_weaknesses():
    plain = SurveyEntry("x/y", "lora")
    used = replace(plain, downloads=50_000, likes=500)
    weak = replace(used, notes=("No card was found.",))
    values = [rate(entry)["quality"].value for entry in (plain, weak, used)]
    assert values == sorted(values)
    assert values[0] < values[2]


def test_lists_of_the_bundled_catalogue():
    assessed = {item.entry.repo_id: item for item in assess(CATALOGUE, EDIT_2509)}
    must = [name for name, item in assessed.items() if item.list == "must"]
    assert 5 <= len(must) <= 10
    for name in ("dx8152/Qwen-Edit-2509-Multiple-angles", "AmirKerr/ThisPerson", "Alissonerdx/BFS-Best-Face-Swap"):
        assert assessed[name].list == "must", name
    for name in ("peteromallet/Qwen-Image-Edit-InSubject", "lrzjason/QwenEdit_Consistance_Edit"):
        assert assessed[name].list == "should", name
    for name in ("lightx2v/Qwen-Image-Lightning", "InstantX/Qwen-Image-ControlNet-Union",
                 "YaoJiefu/multiple-characters", "joyfox/Qwen-Image-Edit-MeiTu", "A20labs/Qwen-Image-2.1-LoRAs"):
        assert assessed[name].list == "skip", name
    assert all(item.why for item in assessed.values())
    assert not any(item.list == "must" and item.verdict.verdict != "compatible" for item in assessed.values())


def test_the_same_catalogue_for_2511_gives_other_musts():
    must = {item.entry.repo_id for item in assess(CATALOGUE, EDIT_2511) if item.list == "must"}
    assert "fal/Qwen-Image-Edit-2511-Multiple-Angles-LoRA" in must
    assert "dx8152/Qwen-Edit-2509-Multiple-angles" not in must


def test_no_more_than_ten_must_be_tested_and_the_most_used_come_first():
    crowd = [
        SurveyEntry(f"x/cam{index}", "lora", card_bases=(EDIT_2509,), specialty=("camera-angle",), licence="mit",
                    downloads=index)
        for index in range(30)
    ]
    assessed = assess(crowd, EDIT_2509)
    assert [item.entry.downloads for item in assessed if item.list == "must"] == list(range(29, 19, -1))
    assert [item.list for item in assessed] == ["must"] * 10 + ["should"] * 20
    assert "come first" in assessed[10].why


def test_what_cannot_be_had_is_skipped():
    entry = replace(CATALOGUE[0], missing="deleted")
    assert assess([entry], EDIT_2509)[0].list == "skip"


def test_unknown_stays_unknown():
    """No field of the catalogue that is null becomes a figure."""
    bare = next(entry for entry in CATALOGUE if entry.repo_id == "djessica/QE-2509-Relight")
    assert bare.training.known() == {}
    assert (bare.licence, bare.files, bare.downloads, bare.last_update) == (None, (), None, None)
    assert WeightFile(None, None) == WeightFile(None, None)


def test_catalogue_is_whole():
    assert len(CATALOGUE) == 62
    names = [entry.repo_id for entry in CATALOGUE]
    assert len(set(names)) == 62
    assert all("/" in name and " " not in name for name in names)
    kinds = [entry.kind for entry in CATALOGUE]
    assert (kinds.count("lora"), kinds.count("full"), kinds.count("controlnet")) == (57, 3, 2)
