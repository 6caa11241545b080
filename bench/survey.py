"""Figures of survey and fetch against a local Hub: calls, bytes read of a LoRA, bytes sent twice, time of verifying.

    python bench/survey.py            full counts (a few minutes)
    python bench/survey.py --quick    fewer repeats (under a minute on 2 cores)
    python bench/survey.py --json     one JSON document on stdout

The Hub is tests/hub/server.py, real HTTP on 127.0.0.1, spoken to by the installed huggingface_hub. Files have the
headers and sizes of true LoRAs and zeros for weights. Needs no torch. Exit status 1 if a figure misses its target.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from hub.server import File, Hub, Repo, lora_tensors, safetensors_header  # noqa: E402

ATTENTION = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_q_proj", "attn.add_k_proj",
             "attn.add_v_proj", "attn.to_add_out")
LAYOUTS = {
    # Name → (rank, prefix, suffixes, modules): as known LoRAs are published.
    "diffusers r16, image attention": (16, "transformer.", ("lora_A", "lora_B"), ATTENTION[:4]),
    "DiffSynth r16": (16, "", ("lora_A.default", "lora_B.default"), (*ATTENTION, "img_mlp.net.2", "txt_mlp.net.2")),
    "ai-toolkit r16": (16, "diffusion_model.", ("lora_A", "lora_B"),
                       (*ATTENTION, "img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2")),
    "Lightning r64": (64, "", ("lora_down", "lora_up"), (*ATTENTION, "img_mlp.net.0.proj", "txt_mlp.net.0.proj")),
}


@dataclass(frozen=True)
class Figure:
    """One graded figure."""

    name: str
    value: float
    target: str
    ok: bool


def at_most(name: str, value: float, target: float) -> Figure:
    return Figure(name, float(f"{value:.4g}"), f"<= {target:g}", bool(value <= target))


def at_least(name: str, value: float, target: float) -> Figure:
    return Figure(name, float(f"{value:.4g}"), f">= {target:g}", bool(value >= target))


def a_lora(rank: int, prefix: str, suffixes: tuple[str, str], modules: tuple[str, ...]) -> File:
    head, size = safetensors_header(lora_tensors(rank, prefix=prefix, suffixes=suffixes, modules=modules))
    return File(head, size, sha256=f"{random.Random(size).getrandbits(256):064x}")


def headers(hub: Hub, repeats: int) -> Iterator[Figure]:
    """What a remote header costs."""
    from whichlora.survey.hubclient import HubClient
    from whichlora.survey.remote import read_remote_header

    shares: list[float] = []
    requests = 0
    start, count = time.perf_counter(), 0
    for place, how in enumerate(LAYOUTS.values()):
        file = a_lora(*how)
        hub.repos[f"bench/lora{place}"] = Repo(f"bench/lora{place}", {"w.safetensors": file})
        for _ in range(repeats):
            client = HubClient()
            remote = read_remote_header(f"bench/lora{place}", "w.safetensors", client=client)
            requests = max(requests, client.traffic.file_requests)
            shares.append(client.traffic.bytes_read / remote.size_bytes)
            count += 1
    yield at_most("bytes read of a LoRA on the Hub / its size, mean of 4 layouts", statistics.fmean(shares), 0.003)
    yield at_most("the same, worst layout", max(shares), 0.01)
    yield at_most("requests for a header, most", requests, 2)
    yield at_least("remote headers read and checked a second", count / (time.perf_counter() - start), 2)


def calls(hub: Hub, repositories: int) -> Iterator[Figure]:
    """API calls of a survey beyond one a page and one a shortlisted repository."""
    from whichlora.survey.bases import EDIT_2509
    from whichlora.survey.hub import survey_hub

    words = ("relight", "camera", "anime", "upscale", "identity", "food", "background")
    file = a_lora(*LAYOUTS["diffusers r16, image attention"])
    for place in range(repositories):
        name = f"u{place}/Qwen-Image-Edit-2509-{words[place % len(words)]}"
        hub.repos[name] = Repo(name, {"w.safetensors": file}, card={"base_model": EDIT_2509},
                               tags=["lora", f"base_model:adapter:{EDIT_2509}"])
    hub.log.clear()
    start = time.perf_counter()
    result = survey_hub(EDIT_2509, shortlist=40)
    seconds = time.perf_counter() - start
    pages = sum(path.startswith("/api/models?") for _, path, _, _ in hub.log)
    looked = sum(item.entry.inspected and item.entry.sources[:1] == ("the Hub",) for item in result.assessed)
    yield at_most(f"API calls beyond pages and shortlist, {repositories} repositories",
                  hub.api_calls() - pages - 40, 0)
    yield at_least("repositories looked at", looked, 20)
    yield at_most("seconds of that survey", seconds, 60)


def resuming(hub: Hub, cache: Path, cuts: int) -> Iterator[Figure]:
    """Bytes sent twice when a download is cut again and again."""
    from whichlora.fetch.download import download
    from whichlora.fetch.wanted import Reference, list_repository, lora_file
    from whichlora.survey.hubclient import HubClient

    head, size = safetensors_header(lora_tensors(16, modules=ATTENTION[:4]))
    hub.repos["bench/cut"] = Repo("bench/cut", {"c.safetensors": File(head, size)})
    draw = random.Random(1)
    hub.cut_after["c.safetensors"] = [draw.randrange(1, size // cuts) for _ in range(cuts)]
    client = HubClient()
    wanted = lora_file(Reference("bench/cut"), list_repository(Reference("bench/cut"), client))
    path = download(wanted, cache, client)
    assert path.stat().st_size == size
    yield at_most(f"bytes sent twice / size, {cuts} cuts", hub.bytes_of("c.safetensors") / size - 1, 0.05)


def verifying(hub: Hub, cache: Path, repeats: int) -> Iterator[Figure]:
    """Time of a verified download against the client's own, which checks sizes only; side by side."""
    from huggingface_hub import hf_hub_download

    from whichlora.fetch.download import download
    from whichlora.fetch.wanted import Reference, list_repository, lora_file
    from whichlora.survey.hubclient import HubClient

    client, ratios = HubClient(), []
    for turn in range(repeats):
        head, size = safetensors_header(lora_tensors(64 + turn, modules=ATTENTION))
        repo = f"bench/time{turn}"
        file = File(head, size)
        file.claimed()
        hub.repos[repo] = Repo(repo, {"v.safetensors": file})
        wanted = lora_file(Reference(repo), list_repository(Reference(repo), client))
        start = time.perf_counter()
        download(wanted, cache / "ours", client)
        ours = time.perf_counter() - start
        start = time.perf_counter()
        hf_hub_download(repo, "v.safetensors", cache_dir=cache / "theirs")
        ratios.append(ours / (time.perf_counter() - start))
    name = "seconds of a download with SHA-256 / the client's without (378 MB, local)"
    yield at_most(name, statistics.median(ratios), 2.5)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Hub(page_size=100) as hub:
        # Read at import: nothing of the client may be imported before.
        for variable in [each for each in os.environ if each.startswith("HF_")]:
            del os.environ[variable]
        os.environ.update(HF_ENDPOINT=hub.url, HF_HOME=name, HF_HUB_DISABLE_PROGRESS_BARS="1", NO_PROXY="127.0.0.1")
        cache = Path(name) / "hub"
        figures = [
            *headers(hub, 2 if options.quick else 20), *calls(hub, 300 if options.quick else 1000),
            *resuming(hub, cache, 10 if options.quick else 50), *verifying(hub, cache, 1 if options.quick else 5),
        ]
    from huggingface_hub import __version__

    run = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count(),
           "huggingface_hub": __version__, "quick": options.quick}
    if options.json:
        print(json.dumps({"figures": [asdict(figure) for figure in figures], "run": run}, indent=1))
    else:
        for figure in figures:
            print(f"{'ok ' if figure.ok else 'MISS'} {figure.value:>10g}  {figure.target:<10} {figure.name}")
    return 0 if all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
