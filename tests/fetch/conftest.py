"""A Hub and a cache of their own for every test."""

import pytest

from fetch.pieces import lora
from hub.client import use
from hub.server import Hub, Repo


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with Hub([Repo("a/one", {"镜头 转换.safetensors": lora()})]) as server:
        use(server, tmp_path, monkeypatch)
        yield server


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "hf" / "hub"
