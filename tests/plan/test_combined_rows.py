"""Rows of merges, rows with and without Lightning, and rows that were proposed from results."""

import pytest
import yaml

from families import painters
from whichlora import registry
from whichlora.cli.project import draft_rows, identify_base, open_project
from whichlora.errors import SuiteError, UserError
from whichlora.lora.merge import METHODS
from whichlora.plan.candidates import LoraFolder, resolve_candidates
from whichlora.suite.combinations import load_combinations, save_combinations, with_combinations
from whichlora.suite.loading import parse_suite
from whichlora.suite.schema import CandidateSpec
from whichlora.suite.templating import render_suite
from whichlora.types import SamplerProfile

DEFAULT = SamplerProfile(num_inference_steps=40)
FAST = {"fast": {"num_inference_steps": 4, "true_cfg_scale": 1.0, "loras": "lightning.safetensors"}}


@pytest.fixture
def folder(tmp_path):
    for name, strengths in (("a", {"camera": 0.6}), ("b", {"camera": 0.2, "lighting": -0.3}),
                            ("lightning", {"grid": 0.1})):
        painters.lora(tmp_path / f"{name}.safetensors", **strengths)
    return tmp_path


def suite(candidates, samplers=None):
    return parse_suite(render_suite("figure", name="t", base={"location": "painter", "family": "painter"},
                                    subject="other", sources={"count": 1}, candidates=candidates, samplers=samplers))


def rows(folder, candidates, samplers=None, **options):
    found, refused = resolve_candidates(suite(candidates, samplers), DEFAULT, LoraFolder((folder,)), **options)
    return {row.name: row for row in found if row.role != "control"}, refused


# ------------------------------------------------------------------ with and without Lightning


def test_a_lora_that_asks_for_lightning_is_measured_both_ways_and_lightning_alone(folder):
    found, refused = rows(folder, [{"name": "a", "loras": "a.safetensors", "sampler": "fast"}], FAST)
    assert list(found) == ["base", "base (fast)", "a", "a (without fast)"]
    assert refused == []
    assert found["a"].sampler.num_inference_steps == 4
    assert found["a (without fast)"].sampler == DEFAULT
    assert found["a (without fast)"].adapters == found["a"].adapters
    assert [use.name for use in found["base (fast)"].sampler.adapters] == ["lightning"]
    assert found["base (fast)"].adapters == ()


def test_without_the_lightning_file_it_is_measured_alone_and_says_what_is_missing(folder):
    (folder / "lightning.safetensors").unlink()
    found, refused = rows(folder, [{"name": "a", "loras": "a.safetensors", "sampler": "fast"}], FAST, available=True)
    assert list(found) == ["base", "a (without fast)"]
    assert refused[0]["name"] == "a"
    assert "lightning.safetensors" in refused[0]["reason"]


@pytest.mark.parametrize("order", [1, -1])
def test_a_row_that_the_suite_has_already_is_not_doubled(folder, order):
    listed = [{"name": "plain", "loras": "a.safetensors"}, {"name": "a", "loras": "a.safetensors", "sampler": "fast"}]
    found, refused = rows(folder, listed[::order], FAST)
    assert set(found) == {"base", "base (fast)", "plain", "a"}
    assert refused == []


def test_it_can_be_turned_off_and_samplers_without_loras_change_nothing(folder):
    entry = {"name": "a", "loras": "a.safetensors", "sampler": "fast"}
    assert "a (without fast)" not in rows(folder, [{**entry, "both_ways": False}], FAST)[0]
    few = {"fast": {"num_inference_steps": 4}}
    assert list(rows(folder, [entry], few)[0]) == ["base", "a"]


# ------------------------------------------------------------------ merges as rows


def test_a_merge_has_an_identity_of_its_own(folder):
    entry = {"loras": "a.safetensors:0.8 + b.safetensors"}
    found, _ = rows(folder, [
        {"name": "stack", **entry}, {"name": "ties", **entry, "combine": "ties"},
        {"name": "ties again", **entry, "combine": "ties", "density": 0.2},
        {"name": "dare", **entry, "combine": "dare_linear", "merge_seed": 1},
        {"name": "dare 2", **entry, "combine": "dare_linear", "merge_seed": 2},
        {"name": "svd", **entry, "combine": "svd", "merge_rank": 4},
    ])
    assert len({row.fingerprint() for row in found.values()}) == 7
    assert found["ties"].combine == "ties/1;density=0.5"
    assert found["stack"].combine == "stack"


def test_settings_that_a_merge_ignores_make_a_twin(folder):
    entry = {"loras": "a.safetensors + b.safetensors", "combine": "cat"}
    _, refused = rows(folder, [{"name": "one", **entry}, {"name": "two", **entry, "density": 0.2}])
    assert [row["name"] for row in refused] == ["two"]


def test_wrong_merges_are_refused_with_a_sentence(folder):
    with pytest.raises(SuiteError, match="unknown way to combine: 'tie'"):
        suite([{"name": "x", "loras": "a.safetensors + b.safetensors", "combine": "tie"}])
    with pytest.raises(UserError, match="names one LoRA only"):
        rows(folder, [{"name": "x", "loras": "a.safetensors", "combine": "ties"}])


@pytest.fixture
def project(folder):
    """A painter project with one photograph."""
    import numpy as np
    from PIL import Image

    painters.base(folder / "painter", faces=False)
    (folder / "refs").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((320, 320), Image.Resampling.BICUBIC).save(folder / "refs" / "one.png")
    return folder


def write(project, candidates):
    text = render_suite("figure", name="t", base={"location": "painter", "family": "painter"}, subject="other",
                        sources={"count": 1}, candidates=candidates)
    (project / "whichlora.yaml").write_text(text, encoding="utf-8")
    return open_project(project)


def test_a_merge_is_made_when_rows_are_drafted_and_the_session_applies_it(project):
    opened = write(project, [
        {"name": f"m {method}", "loras": "a.safetensors:0.5 + b.safetensors", "combine": method, "density": 1.0}
        for method in METHODS
    ])
    family, base = identify_base(opened, "cpu")
    drafted, refused = draft_rows(opened, family, base)
    assert refused == []
    made = {row.name: row for row in drafted if row.combine != "stack"}
    assert len(made) == len(METHODS)
    session = registry.load("families", "painter").load(base, "cpu")
    for name, row in made.items():
        assert row.merged is not None
        assert row.merged.path.startswith(str(project / "merged"))
        session.switch(row)
        # Of the camera 0.5 · 0.6 and 0.2 are added, or averaged where signs are elected.
        want = 0.25 if "ties" in name else 0.5
        assert session.weights("painter.camera")[0] - session.pristine("painter.camera")[0] == pytest.approx(want)
    again, _ = draft_rows(open_project(project), family, base)
    assert [row.merged for row in again] == [row.merged for row in drafted]


# ------------------------------------------------------------------ proposed rows


def spec(**changes):
    return CandidateSpec(**{"name": "a & b", "loras": "a.safetensors:0.8 + b.safetensors", **changes})


def test_proposed_rows_come_after_the_suites_own(project):
    write(project, [{"name": "a", "loras": "a.safetensors"}])
    path = project / "combinations.yaml"
    save_combinations(path, [spec(), spec(name="A")])
    assert load_combinations(path) == [spec(), spec(name="A")]
    assert [row.name for row in open_project(project).suite.candidates] == ["a", "a & b"]
    save_combinations(path, [])
    assert not path.exists()
    assert [row.name for row in open_project(project).suite.candidates] == ["a"]


@pytest.mark.parametrize("text", ["[", "[]", "schema: whichlora.combinations/1", "schema: x\ncandidates: []",
                                  "schema: whichlora.combinations/1\ncandidates: [3]",
                                  "schema: whichlora.combinations/1\ncandidates: [{name: x}]",
                                  "schema: whichlora.combinations/1\ncandidates: [{name: x, loras: y, sampler: z}]"])
def test_a_wrong_file_is_one_sentence(tmp_path, text):
    path = tmp_path / "combinations.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SuiteError, match=r"combinations.yaml"):
        with_combinations(suite([]), path)


def test_the_file_is_readable_yaml(tmp_path):
    path = tmp_path / "combinations.yaml"
    save_combinations(path, [spec(combine="ties", density=0.3)])
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["candidates"] == [
        {"name": "a & b", "loras": "a.safetensors:0.8 + b.safetensors", "combine": "ties", "density": 0.3}]
