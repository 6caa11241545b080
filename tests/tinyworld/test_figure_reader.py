from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from whichlora.tinyworld import DATA_FOLDER  # noqa: E402
from whichlora.tinyworld.characters import impostors, mina, reference_states  # noqa: E402
from whichlora.tinyworld.identity import Identities  # noqa: E402
from whichlora.tinyworld.render import render  # noqa: E402
from whichlora.tinyworld.state import BACKGROUNDS, LIGHTS  # noqa: E402


@pytest.fixture(scope="module")
def mina_read(reader):
    states = reference_states(8)
    pictures, _ = render(mina().repeated(8), states)
    return states, reader(pictures)


def test_yaw_is_read_with_its_sign(mina_read):
    states, read = mina_read
    yaw = np.degrees(np.arctan2(read["yaw_sincos"][:, 0], read["yaw_sincos"][:, 1]))
    assert np.abs(yaw - states.yaw.rad2deg().numpy()).max() < 8


def test_scene_and_traits_are_read(mina_read):
    states, read = mina_read
    assert (read["background"].argmax(1) == states.background.numpy()).mean() >= 7 / 8
    assert (read["light"].argmax(1) == states.light.numpy()).mean() >= 7 / 8
    assert (read["glasses"].argmax(1) == 1).all()
    assert (read["figure_present"] > 0.9).all()


def test_mina_is_told_from_impostors(reader, mina_read):
    _, read = mina_read
    people = Identities.concat(list(impostors().values()))
    states = reference_states(3).select([2]).repeated(len(people))
    others = reader(render(people, states)[0])["embedding"]
    own = read["embedding"]
    same = (own @ own.T)[np.triu_indices(len(own), 1)]
    different = (own @ others.T).ravel()
    auc = (same[:, None] > different[None]).mean()
    assert auc > 0.98
    assert np.abs(np.linalg.norm(own, axis=1) - 1).max() < 1e-3


def test_a_bare_backdrop_has_no_figure(reader):
    states = reference_states(3)
    nobody = torch.zeros(3, dtype=torch.bool)
    pictures, _ = render(mina().repeated(3), states, shown=nobody)
    assert (reader(pictures)["figure_present"] < 0.5).all()


def test_the_card_names_every_class():
    card = json.loads((DATA_FOLDER.parents[1] / "models" / "figure_reader.json").read_text())
    assert tuple(card["classes"]["background"]) == BACKGROUNDS
    assert tuple(card["classes"]["light"]) == LIGHTS
    assert all(len(names) == card["outputs"][key] for key, names in card["classes"].items())
