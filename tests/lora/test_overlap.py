"""Overlap of two LoRAs, against the changes written out in full."""

import numpy as np
import pytest

from lora import factory
from whichlora.errors import RefusedError
from whichlora.lora import keys
from whichlora.lora.overlap import overlap

TINY = keys.ModelShape.from_config(factory.TINY)
TO_Q, TO_K = "transformer_blocks.0.attn.to_q", "transformer_blocks.1.attn.add_k_proj"


def file(folder, name, modules, seed=0, sign=1.0):
    drawn = factory.plain(factory.SPELLINGS["diffusers"], modules, 4, None, seed, factory.gauss)
    tensors = {key: value * (sign if "lora_B" in key else 1.0) for key, value in drawn.tensors.items()}
    return factory.write(folder / f"{name}.safetensors", tensors), {m: sign * d for m, d in drawn.expected.items()}


def test_figures_equal_those_of_the_whole_changes(tmp_path):
    first, a = file(tmp_path, "a", factory.MODULES, 1)
    some = dict(list(factory.MODULES.items())[:5])
    second, b = file(tmp_path, "b", {**some, "img_in": (24, 16)}, 2)
    found = overlap(first, second, TINY)
    assert {module.name for module in found.shared} == set(some)
    assert (found.only_first, found.only_second) == (len(factory.MODULES) - 5, 1)
    size = [sum(np.sum(change**2) for change in side.values()) for side in (a, b)]
    for module in found.shared:
        one, other = a[module.name], b[module.name]
        assert module.cosine == pytest.approx(np.sum(one * other) / np.linalg.norm(one) / np.linalg.norm(other))
        common = np.minimum(abs(one), abs(other))
        assert module.conflict == pytest.approx(common[np.sign(one) != np.sign(other)].sum() / common.sum())
        assert module.share_first == pytest.approx(np.sum(one**2) / size[0])
    assert found.cosine == pytest.approx(sum(np.sum(a[m] * b[m]) for m in some) / np.sqrt(size[0] * size[1]))
    assert abs(found.cosine) < 0.15
    assert abs(found.conflict - 0.5) < 0.1


def test_the_same_the_opposite_and_strangers(tmp_path):
    first, _ = file(tmp_path, "a", factory.MODULES, 1)
    opposite, _ = file(tmp_path, "b", factory.MODULES, 1, sign=-0.5)
    same = overlap(first, first, TINY)
    assert same.cosine == pytest.approx(1)
    assert same.conflict == 0
    against = overlap(first, opposite, TINY)
    assert against.cosine == pytest.approx(-1)
    assert against.conflict == pytest.approx(1)
    apart = overlap(file(tmp_path, "c", {TO_Q: (24, 24)})[0], file(tmp_path, "d", {TO_K: (24, 24)})[0], TINY)
    assert (apart.cosine, apart.conflict, apart.shared) == (None, None, ())


def test_kinds_sum_up_to_the_whole(tmp_path):
    first, _ = file(tmp_path, "a", factory.MODULES, 1)
    second, _ = file(tmp_path, "b", factory.MODULES, 2)
    rows = overlap(first, second, TINY).by_kind()
    assert sum(row.modules for row in rows) == len(factory.MODULES)
    assert sum(row.share_first for row in rows) == pytest.approx(1)
    assert all(-1 <= row.cosine <= 1 and 0 <= row.conflict <= 1 for row in rows)


def test_a_dora_is_not_compared(tmp_path):
    first, _ = file(tmp_path, "a", {TO_Q: (24, 24)})
    drawn = factory.plain(factory.SPELLINGS["diffusers"], {TO_Q: (24, 24)}, 4, None, 1, factory.gauss)
    dora = factory.write(tmp_path / "b.safetensors",
                         {**drawn.tensors, f"transformer.{TO_Q}.lora_magnitude_vector": np.ones(24)})
    with pytest.raises(RefusedError, match="DoRA"):
        overlap(first, dora, TINY)
