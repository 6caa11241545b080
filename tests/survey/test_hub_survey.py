"""The survey against a real Hub server on 127.0.0.1: what it finds, what it costs, and how it bears a bad Hub."""

import random
import time

import pytest

from hub.client import answer, environment, use, whichlora
from hub.server import File, Hub, Repo, lora_tensors, safetensors_header
from whichlora.errors import HubError, RefusedError, UserError
from whichlora.survey import catalog
from whichlora.survey.bases import EDIT_2509, EDIT_2511
from whichlora.survey.hub import survey_hub
from whichlora.survey.hubclient import HubClient
from whichlora.survey.remote import FIRST_READ_BYTES, read_remote_header

ALL = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj",
       "attn.to_add_out", "img_mlp.net.0.proj", "txt_mlp.net.0.proj")


def lora(rank=16, metadata=None, **how) -> File:
    head, size = safetensors_header(lora_tensors(rank, **how), metadata)
    return File(head, size, sha256=f"{random.Random(rank).getrandbits(256):064x}")


def tagged(base: str) -> list[str]:
    return ["lora", f"base_model:{base}", f"base_model:adapter:{base}"]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = Hub()
    # The catalogue's own repositories exist here too, so that nothing is reported as gone.
    for entry in catalog.load():
        server.repos[entry.repo_id] = Repo(entry.repo_id, {"w.safetensors": lora()}, tags=["other"])
    with server:
        use(server, tmp_path, monkeypatch)
        yield server


def test_300_repositories_cost_pages_plus_one_call_each_and_come_out_right(tmp_path):
    """Planted truths among 300 repositories, surveyed by the command line in a process of its own."""
    draw = random.Random(7)
    planted = {
        "a/Qwen-Edit-2509-camera": ("compatible", Repo(
            "a/Qwen-Edit-2509-camera", {"镜头.safetensors": lora(16)}, tags=tagged(EDIT_2509),
            card={"base_model": EDIT_2509}, readme="# Camera\nTrigger: `将镜头`\n", downloads=20_000, likes=300)),
        "b/untagged-qwen-edit-relight-2509": ("compatible", Repo(
            "b/untagged-qwen-edit-relight-2509", {"x.safetensors": lora(32)}, tags=["lora"])),
        "c/Qwen-Image-Edit-consistency": ("unknown", Repo(
            "c/Qwen-Image-Edit-consistency", {"x.safetensors": lora(8)}, tags=["lora"])),
        "d/Qwen-Edit-2509-wrong-card-relight": ("unknown", Repo(
            "d/Qwen-Edit-2509-wrong-card-relight",
            {"x.safetensors": lora(4, {"modelspec.architecture": "Qwen-Image-Edit-2511/lora"})},
            tags=tagged(EDIT_2509), card={"base_model": EDIT_2509})),
        "e/Qwen-Image-Edit-2509-headswap": ("incompatible", Repo(
            "e/Qwen-Image-Edit-2509-headswap", {"x.safetensors": lora(64, width=4096, modules=("attn.to_q",))},
            tags=tagged(EDIT_2509), card={"base_model": EDIT_2509})),
        "f/Qwen-Image-Edit-2509-identity": ("incompatible", Repo(
            "f/Qwen-Image-Edit-2509-identity", {"x.safetensors": File(b"<!DOCTYPE html><html>", 5_000_000, "a" * 64)},
            tags=tagged(EDIT_2509), card={"base_model": EDIT_2509})),
    }
    repos = [repo for _, repo in planted.values()]
    styles = ("anime", "sketch", "upscale", "pixel", "food")
    while len(repos) < 300:
        name = f"u{len(repos)}/Qwen-Image-Edit-{draw.choice(styles)}-{len(repos)}"
        repos.append(Repo(name, {"x.safetensors": lora(8)}, tags=tagged(EDIT_2509), card={"base_model": EDIT_2509},
                          downloads=draw.randrange(5000)))
    draw.shuffle(repos)
    with Hub(repos, page_size=50) as hub:
        done = whichlora(["survey", "--json", "--shortlist", "25"], environment(hub, tmp_path), tmp_path)
        assert done.returncode == 0, done.stderr
        document = answer(done)
        found = {entry["repo_id"]: entry for entry in document["entries"]}
        for name, (verdict, _) in planted.items():
            assert found[name]["verdict"] == verdict, (name, found[name]["evidence"])
        assert set(found) >= {repo.id for repo in repos}
        assert found["d/Qwen-Edit-2509-wrong-card-relight"]["conflicts"]
        assert found["a/Qwen-Edit-2509-camera"]["list"] == "must"
        assert found["a/Qwen-Edit-2509-camera"]["prompts"] == ["将镜头"]
        pages = sum(path.startswith("/api/models?") for _, path, _, _ in hub.log)
        looked = sum(path.startswith("/api/models/") for _, path, _, _ in hub.log)
        assert looked <= 25
        assert hub.api_calls() == pages + looked == document["api_calls"]
        # Every listing query read each of its pages once: two tags, three searches, one first page an author.
        assert pages <= 6 + 1 + 6 + 6 + 1 + len(catalog.known_authors())


def test_no_more_repositories_are_looked_at_than_asked(hub):
    survey_hub(EDIT_2509, shortlist=3)
    looked = {path for _, path, _, _ in hub.log if path.startswith("/api/models/")}
    assert len(looked) == 3


def test_headers_cost_a_sliver_of_the_file(hub):
    hub.repos["x/big"] = Repo("x/big", {"镜头 转换.safetensors": lora(64, modules=ALL)})
    client = HubClient()
    remote = read_remote_header("x/big", "镜头 转换.safetensors", client=client)
    file = hub.repos["x/big"].files["镜头 转换.safetensors"]
    assert remote.size_bytes == file.size
    assert len(remote.header.entries) == 60 * len(ALL) * 2
    assert hub.bytes_of("转换.safetensors") == remote.bytes_read < 0.01 * file.size
    assert client.traffic.file_requests <= 2


def test_a_header_longer_than_the_first_read_takes_one_more_request(hub):
    file = lora(16, modules=ALL, prefix="diffusion_model.", blocks=110)
    assert len(file.head) > FIRST_READ_BYTES
    hub.repos["x/long"] = Repo("x/long", {"a.safetensors": file})
    client = HubClient()
    assert len(read_remote_header("x/long", "a.safetensors", client=client).header.entries) == 2200
    assert client.traffic.file_requests == 2


def test_a_server_without_ranges_is_cut_off(hub):
    hub.ignore_ranges = True
    file = lora(64, modules=ALL)
    hub.repos["x/norange"] = Repo("x/norange", {"a.safetensors": file})
    remote = read_remote_header("x/norange", "a.safetensors")
    assert remote.size_bytes == file.size
    assert remote.bytes_read <= 2 * FIRST_READ_BYTES


@pytest.mark.parametrize(("file", "word"), [
    (File(b"", 0, "0" * 64), "empty"), (File(b"\x80\x02ctorch", 5_000_000, "0" * 64), "pickle"),
    (File((2**40).to_bytes(8, "little") + b"{", 5_000_000, "0" * 64), "header"),
    (File(b"version https://git-lfs.github.com/spec/v1\n", -1, "0" * 64), "LFS"),
])
def test_what_is_no_safetensors_is_refused_after_its_first_bytes(hub, file, word):
    hub.repos["x/bad"] = Repo("x/bad", {"a.safetensors": file})
    with pytest.raises(RefusedError, match=f"(?i){word}"):
        read_remote_header("x/bad", "a.safetensors")
    assert hub.bytes_of("a.safetensors") <= FIRST_READ_BYTES


def test_a_size_that_contradicts_the_metadata_is_refused(hub):
    hub.repos["x/y"] = Repo("x/y", {"a.safetensors": lora()})
    with pytest.raises(RefusedError, match="metadata"):
        read_remote_header("x/y", "a.safetensors", size_bytes=12345)


def test_a_rate_limit_is_waited_out_and_said(hub):
    said: list[str] = []
    hub.rate_limits = [{"RateLimit": '"api";r=0;t=1', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}]
    start = time.monotonic()
    result = survey_hub(EDIT_2509, client=HubClient(said.append), shortlist=2)
    assert time.monotonic() - start >= 2  # 1 s as asked, and 1 for rounding
    assert len(result.assessed) >= 20
    assert any("rate limit" in text for text in said)


def test_a_rate_limit_that_asks_too_long_is_a_sentence(hub):
    hub.rate_limits = [{"Retry-After": "3000"}] * 20
    with pytest.raises(HubError, match="asks to wait 3001 s") as caught:
        list(HubClient().list_models({}))
    assert "token" in caught.value.fix


def test_short_failures_are_retried(hub):
    hub.fail_status = [503, 500]
    assert HubClient().model_info("dx8152/Qwen-Edit-2509-Multiple-angles")["id"].startswith("dx8152")


@pytest.mark.parametrize(("repo", "token", "words"), [
    (Repo("x/closed", {"a.safetensors": lora()}, gated=True), "", "gated"),
    (Repo("x/closed", {"a.safetensors": lora()}, private=True), "", "not found"),
    (Repo("x/closed", {"a.safetensors": lora()}, gated=True), "hf_wrong", "gated"),
    (None, "", "not found"),
])
def test_closed_and_missing_repositories_are_sentences(hub, monkeypatch, repo, token, words):
    if repo is not None:
        hub.repos[repo.id] = repo
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(UserError, match=words) as caught:
        read_remote_header("x/closed", "a.safetensors")
    assert token == "" or token not in str(caught.value)


def test_a_token_that_is_unknown_is_named_as_the_cause(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(UserError, match="does not know your token") as caught:
        HubClient().model_info("dx8152/Qwen-Edit-2509-Multiple-angles")
    assert "hf auth login" in caught.value.fix
    assert "hf_expired" not in str(caught.value)


def test_a_renamed_repository_is_followed_and_said(hub):
    known = "AmirKerr/ThisPerson"
    hub.repos["AmirKerr/ThisPerson-New"] = Repo("AmirKerr/ThisPerson-New", {"w.safetensors": lora(24)}, tags=["z"])
    del hub.repos[known]
    hub.renamed[known] = "AmirKerr/ThisPerson-New"
    result = survey_hub(EDIT_2509, shortlist=60)
    found = {item.entry.repo_id: item.entry for item in result.assessed}
    assert known not in found
    assert any("Renamed" in note for note in found["AmirKerr/ThisPerson-New"].notes)
    assert found["AmirKerr/ThisPerson-New"].training.rank == 24


def test_a_deleted_repository_is_skipped_with_its_reason(hub):
    del hub.repos["AmirKerr/ThisPerson"]
    result = survey_hub(EDIT_2509, shortlist=60)
    item = next(item for item in result.assessed if item.entry.repo_id == "AmirKerr/ThisPerson")
    assert item.list == "skip"
    assert "not found" in item.why


def test_one_bad_repository_does_not_spoil_the_survey(hub):
    name = "dx8152/Qwen-Edit-2509-Multiple-angles"
    hub.repos[name].files["w.safetensors"] = File((50).to_bytes(8, "little") + b"{broken", 5_000_000, "0" * 64)
    result = survey_hub(EDIT_2509, shortlist=60)
    item = next(item for item in result.assessed if item.entry.repo_id == name)
    assert item.verdict.verdict == "incompatible"
    assert sum(item.list == "must" for item in result.assessed) >= 3


def test_the_token_never_leaves_the_hub(hub, monkeypatch):
    """A Link header that points elsewhere is not followed."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with Hub([Repo("evil/x")]) as thief:
        hub.page_size = 5
        hub.evil_next = f"{thief.url}/api/models"
        names = [item["id"] for item in HubClient().list_models({})]
        assert len(names) == 5
        assert thief.log == []
    assert "hf_secret" in hub.seen_tokens


def test_no_hub_at_all_is_one_sentence_and_status_3(tmp_path):
    start = time.monotonic()
    done = whichlora(["survey", "--json"], environment("http://127.0.0.1:9", tmp_path), tmp_path)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "could not be reached" in done.stderr
    assert time.monotonic() - start < 30


def test_a_hub_that_never_answers_is_given_up(hub):
    hub.silent.add("/api/models")
    client = HubClient(timeout_s=0.3)
    with pytest.raises(HubError, match="could not be reached"):
        list(client.list_models({}))


def test_offline_mode_is_a_sentence(tmp_path):
    done = whichlora(["survey"], environment("http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1"), tmp_path)
    assert done.returncode == 3
    assert "Offline mode" in done.stderr
    assert "survey --offline" in done.stderr


def test_offline_survey_asks_nobody(tmp_path):
    with Hub() as server:
        done = whichlora(["survey", "--offline", "--json"], environment(server, tmp_path), tmp_path)
        document = answer(done)
        assert (done.returncode, len(document["entries"]), document["schema"]) == (0, 62, "whichlora.survey/1")
        assert server.log == []
    for entry in document["entries"]:
        assert entry["verdict"] in {"compatible", "incompatible", "unknown"}
        assert entry["list"] in {"must", "should", "skip"}
        assert entry["evidence"]
        assert set(entry) >= {"repo_id", "file", "relevance", "training", "requires", "licence"}


@pytest.mark.parametrize("width", ["60", "80", "160"])
def test_the_table_fits_the_terminal(tmp_path, width):
    """All but names, which are never broken: where there is no room for one beside the rest, it ends its line."""
    env = environment("http://127.0.0.1:9", tmp_path, COLUMNS=width)
    done = whichlora(["survey", "--offline", "--list", "all"], env, tmp_path)
    assert done.returncode == 0
    table = done.stdout.split("\n\n")[0]
    from rich.cells import cell_len

    lines = [line.rstrip() for line in table.splitlines()]
    wide = [line for line in lines if cell_len(line) > int(width)]
    assert all(line.count("/") == 1 and cell_len(line) - cell_len(line.rsplit(" ", 1)[1]) < int(width) for line in wide)
    assert not (wide and width == "160")
    assert "dx8152" in table


def test_a_hostile_card_reaches_the_terminal_as_text(tmp_path):
    evil = Repo("x/qwen-edit-2509-camera", {"a\x1b[2J.safetensors": lora()}, tags=tagged(EDIT_2509),
                card={"license": "\x1b]0;owned\x07mit", "base_model": EDIT_2509,
                      "instance_prompt": "[bold]\x1b[31m<script>"})
    with Hub([evil]) as hub:
        env = environment(hub, tmp_path)
        for arguments in (["survey", "--markdown", "s.md"], ["survey", "--json", "--shortlist", "2"]):
            done = whichlora(arguments, env, tmp_path)
            assert done.returncode == 0, done.stderr
            assert "\x1b]" not in done.stdout + done.stderr
            assert "\x1b[2J" not in done.stdout + done.stderr
    assert "<script" not in (tmp_path / "s.md").read_text(encoding="utf-8")


def test_save_writes_what_json_prints(tmp_path):
    env = environment("http://127.0.0.1:9", tmp_path)
    done = whichlora(["survey", "--offline", "--json", "--save", "deep/s.json"], env, tmp_path)
    assert (tmp_path / "deep" / "s.json").read_text(encoding="utf-8") == done.stdout
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["s.json"]


def test_another_base_is_judged_as_such(hub):
    name = "x/Qwen-Image-Edit-2511-camera"
    hub.repos[name] = Repo(name, {"a.safetensors": lora()}, tags=tagged(EDIT_2511), card={"base_model": EDIT_2511})
    by_target = {
        target: {item.entry.repo_id: item.verdict.verdict for item in survey_hub(target, shortlist=3).assessed}
        for target in (EDIT_2511, EDIT_2509)
    }
    verdicts = [by_target[target]["x/Qwen-Image-Edit-2511-camera"] for target in (EDIT_2511, EDIT_2509)]
    assert verdicts == ["compatible", "unknown"]
