"""What the tests of fetching share: repositories, and what lies in a cache."""

from hub.server import File, Repo, lora_tensors, safetensors_header
from whichlora.fetch.wanted import list_repository, lora_file
from whichlora.survey.hubclient import HubClient
from whichlora.survey.names import Reference

BASE = "Qwen/Qwen-Image-Edit-2509"
GGUF = "QuantStack/Qwen-Image-Edit-2509-GGUF"


def lora(blocks=2, rank=16) -> File:
    head, size = safetensors_header(lora_tensors(rank, blocks=blocks))
    return File(head, size)


def base_repo() -> Repo:
    return Repo(BASE, {
        "model_index.json": File(b'{"a": 1}', lfs=False), "transformer/config.json": File(b"{}", lfs=False),
        "transformer/w-00001-of-00002.safetensors": File(b"t1", 3_000_000),
        "transformer/w-00002-of-00002.safetensors": File(b"t2", 2_000_000),
        "transformer/w.safetensors.index.json": File(b'{"i": 1}', lfs=False),
        "text_encoder/model.safetensors": File(b"te", 1_500_000), "text_encoder/config.json": File(b"[]", lfs=False),
        "vae/v.safetensors": File(b"v", 200_000), "tokenizer/vocab.json": File("{\"é\": 1}".encode(), lfs=False),
        "unwanted/pickle.bin": File(b"x", 9_000_000), "transformer/old.bin": File(b"x", 9_000_000),
        "picture.png": File(b"x", 10),
    })


def the_file(repo="a/one"):
    client = HubClient(timeout_s=2)
    reference = Reference(repo)
    return lora_file(reference, list_repository(reference, client)), client


def names_in(cache):
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and ".locks" not in path.parts)
