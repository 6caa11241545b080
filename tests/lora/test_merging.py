"""Merges equal PEFT's own where that repeats, and a float64 reference elsewhere; their files load where they must."""

import json
import math

import numpy as np
import pytest

from lora import factory
from whichlora.errors import MachineError, RefusedError, UserError
from whichlora.lora import keys, merge, merged
from whichlora.lora.delta import load_canonical
from whichlora.lora.inspect import inspect_lora, sha256_of
from whichlora.lora.merge import METHODS, Recipe
from whichlora.lora.static import check_static
from whichlora.types import AdapterUse

torch = pytest.importorskip("torch")
TINY = keys.ModelShape.from_config(factory.TINY)
ALPHA = "diffusers with alpha"


def part(folder, name, *, modules=None, rank=4, alpha=2.0, seed=0, weight=1.0, spelling=ALPHA):
    drawn = factory.plain(factory.SPELLINGS[spelling], modules or factory.MODULES, rank, alpha, seed, factory.gauss)
    path = factory.write(folder / f"{name}.safetensors", drawn.tensors)
    return AdapterUse(name, str(path), sha256_of(path), weight), drawn


def changes(path):
    with load_canonical(path, TINY) as lora:
        return {module.name: module.delta() for module in lora}


def deltas(report):
    return changes(report.path)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two LoRAs of one rank; the second leaves half of the modules alone, and its weight is negative."""
    folder = tmp_path_factory.mktemp("pair")
    some = dict(list(factory.MODULES.items())[::2])
    return (part(folder, "first", alpha=2.0, seed=1, weight=0.7),
            part(folder, "second", modules=some, alpha=6.0, seed=2, weight=-1.3))


def peft_model(pair):
    """The pair as two adapters of a tiny transformer."""
    import peft
    from diffusers import QwenImageTransformer2DModel

    torch.manual_seed(0)
    model = QwenImageTransformer2DModel(**factory.TINY).eval()
    wrapped = None
    for (use, drawn), alpha in zip(pair, (2.0, 6.0), strict=True):
        config = peft.LoraConfig(r=4, lora_alpha=alpha, target_modules=list(drawn.matrices))
        if wrapped is None:
            wrapped = peft.get_peft_model(model, config, use.name)
        else:
            wrapped.add_adapter(use.name, config)
        for name, (up, down) in drawn.matrices.items():
            layer = wrapped.base_model.model.get_submodule(name)
            layer.lora_A[use.name].weight.data = torch.tensor(down, dtype=torch.float32)
            layer.lora_B[use.name].weight.data = torch.tensor(up, dtype=torch.float32)
    return wrapped


def by_peft(pair, monkeypatch, recipe):
    """What PEFT's own merge does to every module; its random masks are replaced by the drawn ones."""
    from peft.utils import merge_utils

    known = []
    for index, (_, drawn) in enumerate(pair):
        for name, (up, down) in drawn.matrices.items():
            known += [(f"{name}|{index}|{side}", array) for side, array in
                      (("up", up), ("down", down), ("change", drawn.expected[name]))]

    def pruned(tensor, density, rescale):
        array = tensor.detach().double().numpy()
        tag = next(tag for tag, value in known if value.shape == array.shape and np.allclose(value, array, atol=1e-6))
        assert rescale
        return tensor * torch.tensor(merge.drawn(array.shape, density, recipe.seed, tag), dtype=torch.float32) / density

    monkeypatch.setattr(merge_utils, "random_pruning", pruned)
    model = peft_model(pair)
    model.base_model.add_weighted_adapter(
        ["first", "second"], [use.weight for use, _ in pair], "merged", combination_type=recipe.method,
        density=recipe.density, majority_sign_method=recipe.sign, svd_rank=recipe.rank,
    )
    with torch.no_grad():
        return {name: model.base_model.model.get_submodule(name).get_delta_weight("merged").numpy()
                for name in factory.MODULES}


CASES = [
    *((method, 0.4, "total") for method in METHODS),
    *((method, 0.4, "frequency") for method in METHODS if "ties" in method),
    *((method, 1.0, "total") for method in ("dare_linear", "dare_ties_svd")),
]


@pytest.mark.parametrize(("method", "density", "sign"), CASES)
def test_equal_to_pefts_own_merge(pair, monkeypatch, tmp_path, method, density, sign):
    recipe = Recipe(method, density, seed=5, sign=sign)
    report = merged.merge_files([use for use, _ in pair], recipe, tmp_path / "m.safetensors", shape=TINY)
    want = by_peft(pair, monkeypatch, recipe)
    got = deltas(report)
    assert set(got) == set(factory.MODULES)
    largest = max(np.abs(change).max() for change in want.values())
    assert largest > 1e-4
    for name, change in want.items():
        np.testing.assert_allclose(got[name], change, atol=1e-5 * largest)


# --------------------------------------------------------------------- unequal ranks, by a reference of loops


def keep(array, density):
    """Magnitude pruning by sorting."""
    flat = [(abs(value), place) for place, value in enumerate(array.reshape(-1))]
    chosen = {place for _, place in sorted(flat, reverse=True)[: int(density * len(flat))]}
    return np.array([v if p in chosen else 0.0 for p, v in enumerate(array.reshape(-1))]).reshape(array.shape)


def looped(arrays, weights, method, recipe, tags):
    """Element by element, from the papers."""
    if method.startswith(("ties", "magnitude")) and recipe.density < 1:
        arrays = [keep(array, recipe.density) for array in arrays]
    if method.startswith("dare") and recipe.density < 1:
        arrays = [array * merge.drawn(array.shape, recipe.density, recipe.seed, tag) / recipe.density
                  for array, tag in zip(arrays, tags, strict=True)]
    shape = tuple(max(array.shape[axis] for array in arrays) for axis in (0, 1))
    out = np.zeros(shape)
    for row in range(shape[0]):
        for column in range(shape[1]):
            values = [array[row, column] if row < array.shape[0] and column < array.shape[1] else 0.0
                      for array in arrays]
            if "ties" not in method:
                out[row, column] = sum(w * v for w, v in zip(weights, values, strict=True))
                continue
            elected = 1 if sum(values) >= 0 else -1
            agreeing = [w * v for w, v in zip(weights, values, strict=True) if v * elected > 0]
            out[row, column] = sum(agreeing) / max(1, len(agreeing))
    return out


def referenced(drawn, weights, recipe, name):
    """ΔW of one module by the reference."""
    scaled = [(index, weight, *one.matrices[name], alpha / one.matrices[name][0].shape[1])
              for index, (one, weight, alpha) in enumerate(zip(drawn, weights, (2.0, 6.0, 3.0), strict=True))]
    if recipe.method == "cat":
        return sum(weight * scale * up @ down for _, weight, up, down, scale in scaled)
    if recipe.method.endswith("svd"):
        method = recipe.method.removesuffix("_svd") if recipe.method != "svd" else "linear"
        whole = looped([scale * up @ down for _, _, up, down, scale in scaled], weights, method, recipe,
                       [f"{name}|{index}|change" for index, *_ in scaled])
        left, values, right = np.linalg.svd(whole)
        rank = recipe.rank or max(up.shape[1] for _, _, up, _, _ in scaled)
        return sum(values[i] * np.outer(left[:, i], right[i]) for i in range(rank))
    roots = [math.sqrt(abs(weight * scale)) for _, weight, _, _, scale in scaled]
    signed = [math.copysign(root, weight) for root, weight in zip(roots, weights, strict=True)]
    up = looped([up for _, _, up, _, _ in scaled], roots, recipe.method, recipe,
                [f"{name}|{index}|up" for index, *_ in scaled])
    down = looped([down for _, _, _, down, _ in scaled], signed, recipe.method, recipe,
                  [f"{name}|{index}|down" for index, *_ in scaled])
    return up @ down


SMALL = {"transformer_blocks.0.attn.to_q": (24, 24), "img_in": (24, 16)}


@pytest.mark.parametrize("method", METHODS)
def test_three_of_unequal_ranks_equal_the_reference(tmp_path, method):
    weights = (1.0, -0.4, 0.8)
    parts = [part(tmp_path, name, modules=SMALL, rank=rank, alpha=alpha, seed=seed, weight=weight)
             for seed, (name, rank, alpha, weight) in
             enumerate(zip("abc", (2, 5, 3), (2.0, 6.0, 3.0), weights, strict=True))]
    recipe = Recipe(method, 0.6, seed=9, rank=4 if method.endswith("svd") else None)
    report = merged.merge_files([use for use, _ in parts], recipe, tmp_path / "m.safetensors", shape=TINY)
    got = deltas(report)
    for name in SMALL:
        want = referenced([drawn for _, drawn in parts], weights, recipe, name)
        np.testing.assert_allclose(got[name], want, atol=1e-5 * np.abs(want).max())
    assert report.shared == len(SMALL)


def test_large_changes_are_cut_like_small_ones():
    rng = np.random.default_rng(0)
    change = rng.normal(size=(600, 8)) @ rng.normal(size=(8, 700)) + 0.05 * rng.normal(size=(600, 700))
    up, down = merge.cut(change, 5)
    left, values, right = np.linalg.svd(change, full_matrices=False)
    want = left[:, :5] * values[:5] @ right[:5]
    assert np.abs(up @ down - want).max() < 1e-7 * np.abs(want).max()


def test_dare_draws_keep_the_expectation_and_hang_on_seed_and_place():
    mask = merge.drawn((400, 500), 0.3, 1, "x|0|up")
    assert abs(mask.mean() - 0.3) < 0.01
    assert np.array_equal(mask, merge.drawn((400, 500), 0.3, 1, "x|0|up"))
    for other in (merge.drawn((400, 500), 0.3, 2, "x|0|up"), merge.drawn((400, 500), 0.3, 1, "x|1|up")):
        assert abs((mask == other).mean() - (0.09 + 0.49)) < 0.01


# --------------------------------------------------------------------- the file


def test_cat_is_the_sum_and_says_so(pair, tmp_path):
    uses = [use for use, _ in pair]
    report = merged.merge_files(uses, Recipe("cat"), tmp_path / "m.safetensors", shape=TINY)
    for name, change in deltas(report).items():
        want = sum(use.weight * drawn.expected[name] for use, drawn in pair if name in drawn.expected)
        np.testing.assert_allclose(change, want, atol=1e-8)
    assert report.error < 1e-6
    rough = merged.merge_files(uses, Recipe("linear"), tmp_path / "l.safetensors", shape=TINY)
    off = sum(np.sum((deltas(rough)[name] - change) ** 2) for name, change in deltas(report).items())
    size = sum(np.sum(change**2) for change in deltas(report).values())
    assert rough.error == pytest.approx(math.sqrt(off / size), rel=1e-4)
    assert rough.error > 0.1


def test_diffusers_loads_it_whole_and_alike(pair, tmp_path):
    from diffusers import QwenImageTransformer2DModel
    from safetensors.torch import load_file

    report = merged.merge_files([use for use, _ in pair], Recipe("cat"), tmp_path / "m.safetensors", shape=TINY)
    torch.manual_seed(0)
    model = QwenImageTransformer2DModel(**factory.TINY)
    before = {name: model.get_submodule(name).weight.detach().clone() for name in factory.MODULES}
    model.load_lora_adapter(load_file(report.path), prefix="transformer")
    assert {name for name, module in model.named_modules() if hasattr(module, "lora_A")} == set(factory.MODULES)
    model.fuse_lora()
    for name, want in deltas(report).items():
        change = (model.get_submodule(name).base_layer.weight - before[name]).detach().numpy()
        np.testing.assert_allclose(change, want, atol=1e-6)


def comfy(tensors, model_keys):
    """ComfyUI's rules: which LoRA keys a model key has, and what a pair of matrices without alpha does."""
    used, found = set(), {}
    for key in model_keys:
        module = key.removeprefix("diffusion_model.").removesuffix(".weight")
        for name in (module, f"transformer.{module}", f"diffusion_model.{module}",
                     "lycoris_" + module.replace(".", "_")):
            up, down = f"{name}.lora_B.weight", f"{name}.lora_A.weight"
            if up in tensors:
                used |= {up, down}
                found[module] = tensors[up] @ tensors[down] * 1.0
    return found, used


def test_comfyui_finds_every_key(pair, tmp_path):
    from diffusers import QwenImageTransformer2DModel
    from safetensors.numpy import load_file

    report = merged.merge_files([use for use, _ in pair], Recipe("ties"), tmp_path / "m.safetensors", shape=TINY)
    tensors = load_file(report.path)
    names = [f"diffusion_model.{key}" for key in QwenImageTransformer2DModel(**factory.TINY).state_dict()
             if key.endswith(".weight")]
    found, used = comfy(tensors, names)
    assert used == set(tensors)
    for name, want in deltas(report).items():
        np.testing.assert_allclose(found[name], want, atol=1e-7)


def test_the_gate_takes_it_and_its_recipe_stands_in_it(pair, tmp_path):
    uses = [use for use, _ in pair]
    path = tmp_path / "m.safetensors"
    merged.merge_files(uses, Recipe("dare_ties", 0.3, seed=4), path, shape=TINY)
    assert check_static(None, path, TINY).modules == len(factory.MODULES)
    told = merged.read_recipe(path)
    assert (told["method"], told["density"], told["seed"]) == ("dare_ties", 0.3, 4)
    assert told["parts"] == [{"name": use.name, "sha256": use.sha256, "weight": use.weight} for use in uses]
    assert merged.read_recipe(uses[0].path) is None


def test_the_base_is_named_where_all_parts_agree(tmp_path):
    spelling = factory.SPELLINGS["diffusers"]
    paths = []
    for seed, name in enumerate("ab"):
        drawn = factory.plain(spelling, SMALL, 2, None, seed, factory.gauss)
        paths.append(factory.write(tmp_path / f"{name}.safetensors", drawn.tensors,
                                   {"modelspec.architecture": "Qwen-Image-Edit-2509/lora"}))
    uses = [AdapterUse(path.stem, str(path), "", 1.0) for path in paths]
    merged.merge_files(uses, Recipe("cat"), tmp_path / "m.safetensors", shape=TINY)
    assert inspect_lora(tmp_path / "m.safetensors", TINY).base.id == "Qwen/Qwen-Image-Edit-2509"


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_formats_lose_only_their_rounding(pair, tmp_path, kind):
    uses = [use for use, _ in pair]
    exact = merged.merge_files(uses, Recipe("cat"), tmp_path / "m.safetensors", shape=TINY)
    half = merged.merge_files(uses, Recipe("cat"), tmp_path / "h.safetensors", shape=TINY, number_format=kind)
    assert half.size_bytes < 0.6 * exact.size_bytes
    assert 0 < half.error < {"float16": 2**-10, "bfloat16": 2**-7}[kind]
    values = np.array([[1.0, -2.5, 3.14159, 1e-5, 65504.0]])
    dtype = getattr(torch, kind)
    want = torch.tensor(values).to(torch.float32).to(dtype).view(torch.uint8).numpy().tobytes()
    assert merged.encode(values, kind) == want


def test_a_merge_is_made_once_and_again_when_it_was_spoilt(pair, tmp_path, monkeypatch):
    uses = [use for use, _ in pair]
    first = merged.merged_use(uses, Recipe("ties"), tmp_path, TINY)
    calls = []
    real = merged.merge_files
    monkeypatch.setattr(merged, "merge_files", lambda *a, **k: calls.append(1) or real(*a, **k))
    assert merged.merged_use(uses, Recipe("ties"), tmp_path, TINY) == first
    assert calls == []
    (tmp_path / (merged.recipe_id(uses, Recipe("ties")) + ".safetensors")).write_bytes(b"spoilt")
    assert merged.merged_use(uses, Recipe("ties"), tmp_path, TINY).sha256 == first.sha256
    assert calls == [1]
    heavier = [uses[0], AdapterUse(uses[1].name, uses[1].path, uses[1].sha256, 0.9)]
    names = {merged.recipe_id(u, r) for u in (uses, heavier, uses[::-1]) for r in (Recipe("ties"), Recipe("svd"))}
    assert len(names) == 6


# --------------------------------------------------------------------- recipes and refusals


def lokr_file(folder):
    rng = np.random.default_rng(0)
    tensors = {"transformer_blocks.0.attn.to_q.lokr_w1": factory.gauss(rng, (4, 4)),
               "transformer_blocks.0.attn.to_q.lokr_w2": factory.gauss(rng, (6, 6))}
    path = factory.write(folder / "lokr.safetensors", {f"lycoris_{key.replace('.', '_', 3)}": value
                                                       for key, value in tensors.items()})
    return AdapterUse("lokr", str(path), "", 1.0), np.kron(*tensors.values())


def test_lokr_merges_by_its_change_and_not_by_factors(tmp_path):
    lokr, change = lokr_file(tmp_path)
    other, drawn = part(tmp_path, "a", modules={"transformer_blocks.0.attn.to_q": (24, 24)})
    report = merged.merge_files([lokr, other], Recipe("svd", rank=24), tmp_path / "m.safetensors", shape=TINY)
    want = change + drawn.expected["transformer_blocks.0.attn.to_q"]
    np.testing.assert_allclose(deltas(report)["transformer_blocks.0.attn.to_q"], want, atol=1e-6 * np.abs(want).max())
    assert report.error < 1e-5
    with pytest.raises(RefusedError, match="no low-rank factors"):
        merged.merge_files([lokr, other], Recipe("ties"), tmp_path / "n.safetensors", shape=TINY)
    assert not (tmp_path / "n.safetensors").exists()


def test_what_cannot_be_merged_is_refused_and_nothing_is_left(tmp_path):
    one, _ = part(tmp_path, "a")
    other, _ = part(tmp_path, "b", seed=2)
    spelling = factory.SPELLINGS["diffusers"]
    drawn = factory.plain(spelling, SMALL, 2, None, 1, factory.gauss)
    stem = "transformer.transformer_blocks.0.attn.to_q"
    dora = factory.write(tmp_path / "dora.safetensors", {
        **{key: value for key, value in drawn.tensors.items() if stem in key},
        f"{stem}.lora_magnitude_vector": np.ones(24)})
    out = tmp_path / "out" / "m.safetensors"
    cases = [
        ([one, AdapterUse("dora", str(dora), "", 1.0)], RefusedError, "DoRA"),
        ([one, AdapterUse("b", other.path, "0" * 64, 1.0)], RefusedError, "not the file"),
        ([one, AdapterUse("gone", str(tmp_path / "gone.safetensors"), "", 1.0)], RefusedError, "no longer"),
        ([AdapterUse("a", one.path, one.sha256, 0.0), AdapterUse("b", other.path, other.sha256, 0.0)], RefusedError,
         "nothing"),
        ([one, AdapterUse("a", one.path, one.sha256, -1.0)], RefusedError, "cancel"),
        ([one], UserError, "two"),
    ]
    for uses, kind, words in cases:
        with pytest.raises(kind, match=words):
            merged.merge_files(uses, Recipe("cat"), out, shape=TINY)
    assert not out.parent.exists() or list(out.parent.iterdir()) == []


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_parts_that_cancel_but_for_rounding_are_refused(tmp_path, kind):
    """The same change in two files, one of them with its strength moved into a factor: nothing but rounding is left."""
    spelling = factory.SPELLINGS["diffusers"]
    drawn = factory.plain(spelling, SMALL, 4, None, 1, factory.gauss)
    moved = {key: value * np.float32(3.7 if "lora_A" in key else 1 / 3.7) for key, value in drawn.tensors.items()}
    uses = [AdapterUse(name, str(factory.write(tmp_path / f"{name}.safetensors", tensors)), "", weight)
            for name, tensors, weight in (("a", drawn.tensors, 1.0), ("b", moved, -1.0))]
    with pytest.raises(RefusedError, match="cancel"):
        merged.merge_files(uses, Recipe("cat"), tmp_path / "m.safetensors", shape=TINY, number_format=kind)
    assert not (tmp_path / "m.safetensors").exists()


def test_a_full_disk_leaves_nothing(pair, tmp_path, monkeypatch):
    def full(_file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(merged, "_flush", full)
    with pytest.raises(MachineError, match="No space"):
        merged.merge_files([use for use, _ in pair], Recipe("cat"), tmp_path / "m.safetensors", shape=TINY)
    assert list(tmp_path.iterdir()) == []


def test_recipes_of_strangers_are_not_believed(tmp_path):
    drawn = factory.plain(factory.SPELLINGS["diffusers"], SMALL, 2, None)
    for text in ("[1]", "{", "[" * 100_000):
        path = factory.write(tmp_path / "x.safetensors", drawn.tensors, {merged.RECIPE_KEY: text})
        assert merged.read_recipe(path) is None
    assert json.dumps(merged.read_recipe(factory.write(tmp_path / "y.safetensors", drawn.tensors))) == "null"
