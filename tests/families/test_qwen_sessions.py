"""Sessions: switching leaves no trace, and a picture depends on nothing but its own cell; one program serves all."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from families import tiny
from families.engines import LAYERS, answers, model, relative
from families.tiny import candidate, use
from whichlora import registry
from whichlora.families._qwen import profiles
from whichlora.families._qwen.calls import Call
from whichlora.families._qwen.engine import FastEngine
from whichlora.families._qwen.loading import Parts
from whichlora.families._qwen.places import find_places
from whichlora.families._qwen.session import QwenSession
from whichlora.families._qwen.shortcuts import NONE
from whichlora.families._qwen.weights import ResidentStore

FAMILY = registry.load("families", "qwen_image_edit")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.build(tmp_path_factory.mktemp("base"), layers=LAYERS)


@pytest.fixture(scope="module")
def inputs(folder):
    """Encoded once: instruction, negative prompt, photograph."""
    session = opened(folder, profiles.Settings())
    source = tiny.picture(0)
    return (session.encode_prompt(tiny.PROMPTS[0], [source], tiny.SAMPLER),
            session.encode_prompt(" ", [source], tiny.SAMPLER), [session.encode_image(source, tiny.SAMPLER)])


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    root = tmp_path_factory.mktemp("loras")
    everything = ("attn.to_q", "attn.to_out.0", "img_mlp.net.2", "img_mod.1")
    return (tiny.save_lora(root / "a.safetensors", tiny.lora_tensors(1, modules=everything)),
            tiny.save_lora(root / "b.safetensors", tiny.lora_tensors(2, rank=8, modules=("attn.add_q_proj",))))


def opened(folder, settings, dtype="float32"):
    base = FAMILY.identify(str(folder), {})
    return QwenSession(base, Parts(find_places(base.location), "cpu", getattr(torch, dtype)), {}, settings)


def small_budget(dtype=torch.float32):
    """Room for two buffers and one block."""
    return int(3.5 * 24 * tiny.WIDTH**2 * dtype.itemsize)


def made_picture(session, inputs, seed=5):
    return session.denoise(*inputs, replace(tiny.SAMPLER, num_inference_steps=2), seed)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_switching_leaves_no_trace_however_the_model_is_held(folder, loras, inputs, dtype):
    a, b = candidate(use(loras[0])), candidate(use(loras[1], 0.8), use(loras[0], -0.3))
    rows = {"base": candidate(), "a": a, "b": b}
    hashes, pictures, plain = {}, {}, {}
    for hold in ("plain", "resident", "streamed"):
        room = small_budget(getattr(torch, dtype))
        session = opened(folder, profiles.Settings() if hold == "plain" else profiles.Settings(
            engine="fast", hold=hold, budget_bytes=room), dtype)
        untouched = session.weights_hash()
        for name in ("a", "b", "base", "a"):
            session.switch(rows[name])
            found = session.weights_hash()
            assert hashes.setdefault(name, found) == found, (hold, name)
            picture = made_picture(session, inputs).tokens
            if hold == "plain":
                plain[name] = picture
                continue
            assert torch.equal(pictures.setdefault(name, picture), picture), (hold, name)
            if dtype == "float32":  # nothing computed for one candidate, such as modulations, serves another
                assert relative([picture], [plain[name]]) < 1e-4
        assert hashes["base"] == untouched
        assert session.engine_facts()["streamed_blocks"] == (LAYERS - 1 if hold == "streamed" else 0)
    assert len({*hashes.values()}) == 3


def test_reading_ahead_changes_nothing_and_a_bad_file_is_refused_at_the_switch(folder, loras, tmp_path):
    session = opened(folder, profiles.Settings())
    row = candidate(use(loras[0]), use(loras[1], 0.5))
    session.switch(row)
    wanted = session.weights_hash()
    session.switch(candidate())
    session.prefetch(row)
    held = dict(session._switcher._ahead._held)
    assert all(len(future.result()) > 0 for future in held.values())
    assert session.switch(row).modules_changed == 10
    assert session.weights_hash() == wanted
    assert not session._switcher._ahead._held
    page = tmp_path / "page.safetensors"
    page.write_bytes(b"<html>")
    session.prefetch(candidate(use(page)))
    with pytest.raises(Exception, match="page"):
        session.switch(candidate(use(page)))


def test_pictures_made_together_are_those_made_alone(folder, loras, inputs):
    from whichlora.families._qwen.denoise import Job

    sampler = replace(tiny.SAMPLER, true_cfg_scale=1.0)
    session = opened(folder, profiles.Settings(hold="streamed", budget_bytes=small_budget()))
    session.switch(candidate(use(loras[0])))
    prompt, _, images = inputs
    source = tiny.picture(1)
    jobs = [Job(prompt, None, images, 1), Job(session.encode_prompt(tiny.PROMPTS[1], [source], sampler), None,
                                              [session.encode_image(source, sampler)], 2)]
    alone = [session.denoise(job.prompt, None, job.images, sampler, job.seed).tokens for job in jobs]
    session._machine.store.copies = log = []
    together = session.denoise_together(jobs, sampler)
    assert all(torch.equal(a, b.tokens) for a, b in zip(alone, together, strict=True))
    assert len(log) <= sampler.num_inference_steps * (LAYERS - 1), "one arrival of a block serves both"
    other = session.encode_image(tiny.picture(3, 64, 128), sampler)
    with pytest.raises(ValueError, match="same number of tokens"):
        session.denoise_together([Job(prompt, None, images, 1),
                                  Job(prompt, None, [replace(other, tokens=other.tokens[:, :8], height_px=32)], 1)],
                                 sampler)
    assert session.pictures_together(sampler) == 2
    assert session.pictures_together(tiny.SAMPLER) == 1


def test_a_picture_does_not_depend_on_the_one_that_is_made_beside_it(folder, inputs, monkeypatch):
    """A product of more rows may be summed in another order. Here every result says how many forwards shared it, so
    that a picture which shares with another one cannot be the picture made alone; with guidance its own two share."""
    from whichlora.families._qwen import fused
    from whichlora.families._qwen.denoise import Job
    from whichlora.families._qwen.fast import block_forward

    shared = []

    def block(streams, modulation, weights, attend):
        shared.append(len(streams))
        found = [block_forward(each.img, each.txt, modulation, (*each.tables, None), weights, each.extra, attend)
                 for each in streams]
        return [(img * (1 + 0.01 * len(streams)), txt, kept) for img, txt, kept in found]

    monkeypatch.setattr(fused, "fused_block", block)
    session = opened(folder, profiles.Settings(engine="fast"))
    session.switch(candidate())
    session._machine.engine._kernels = True
    prompt, negative, images = inputs
    for against, scale, forwards in ((None, 1.0, 1), (negative, 2.5, 2)):
        sampler = replace(tiny.SAMPLER, true_cfg_scale=scale)
        alone = [session.denoise(prompt, against, images, sampler, seed).tokens for seed in (1, 2)]
        together = session.denoise_together([Job(prompt, against, images, seed) for seed in (1, 2)], sampler)
        assert set(shared) == {forwards}
        shared.clear()
        assert all(torch.equal(a, b.tokens) for a, b in zip(alone, together, strict=True))


def test_every_attention_of_a_session_runs_in_the_stated_order_of_kernels(folder, monkeypatch):
    """Text encoder, VAE, denoising and probes, whatever was set in the process: one call outside, and what it computes
    depends on what ran before."""
    from contextlib import contextmanager

    from whichlora.families._qwen import engine, numerics

    # As an image for containers, or another library, may leave them.
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    torch.set_float32_matmul_precision("high")
    depth, inside, outside, found = [0], [], [], set()

    def in_force():
        return (torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32,
                torch.backends.cudnn.deterministic, torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction)

    before = in_force()

    @contextmanager
    def order(_):
        depth[0] += 1
        yield
        depth[0] -= 1

    stock = torch.nn.functional.scaled_dot_product_attention

    def attend(*arguments, **options):
        (inside if depth[0] else outside).append(None)
        found.add(in_force())
        return stock(*arguments, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
    monkeypatch.setattr(numerics, "attention_order", order)
    monkeypatch.setattr(engine, "attention_order", order)
    counts = []
    for settings in (profiles.Settings(), profiles.Settings(engine="fast")):
        session, source = opened(folder, settings), tiny.picture(0)
        for step in (
            lambda s=session, p=source: s.encode_prompt(tiny.PROMPTS[0], [p], tiny.SAMPLER),
            lambda s=session, p=source: s.encode_image(p, tiny.SAMPLER),
            lambda s=session, p=source: s.round_trip(p, tiny.SAMPLER),
            lambda s=session: s.probe(candidate()), lambda s=session: s.noise_floor(),
        ):
            so_far = len(inside)
            step()
            counts.append(len(inside) - so_far)
            assert in_force() == before
    torch.set_float32_matmul_precision("highest")
    assert min(counts) > 0, counts  # each of them attends
    assert outside == []
    assert found == {("highest", False, False, True, True)}
    # Without it torch takes no convolution on matrix units, in bf16 neither.
    with numerics.stated("cpu", torch.bfloat16):
        assert in_force() == ("highest", False, True, True, True)


def test_a_text_encoder_on_the_processor_gets_its_inputs_there(folder, monkeypatch):
    """A card too small for it: what the encoder is given must lie where its weights are."""
    session, source = opened(folder, profiles.Settings()), tiny.picture(0)
    wanted = session.encode_prompt(tiny.PROMPTS[0], [source], tiny.SAMPLER).embeds
    small = opened(folder, profiles.Settings())
    small._parts.encoder_device, small._parts.device = "cpu", "meta"
    monkeypatch.setattr(small, "_make_room", lambda: None)
    assert torch.equal(small.encode_prompt(tiny.PROMPTS[0], [source], tiny.SAMPLER).embeds, wanted)


def test_weights_leave_a_card_where_the_vae_has_no_room(folder, inputs, monkeypatch):
    """Else torch takes another of cuDNN's kernels, and the picture depends on how much memory was free."""
    from whichlora.families._qwen import opening

    asked = []

    class Card:
        device = torch.device("cuda")

        def park(self, need):
            asked.append(need)

    for free, profile, wanted in ((2 << 30, "exact", [3 << 30]), (4 << 30, "exact", []), (2 << 30, "nf4", [])):
        monkeypatch.setattr(opening, "free_bytes", lambda _, free=free: free)
        opening.make_room_for_vae(opening.Machine(Card(), None), profiles.Settings(profile=profile), 1 << 20)
        assert asked == wanted
        asked.clear()
    monkeypatch.setattr(opening, "make_room_for_vae", lambda machine, settings, pixels: asked.append(pixels))
    session, source = opened(folder, profiles.Settings(engine="fast")), tiny.picture(0)
    session.encode_image(source, tiny.SAMPLER)
    assert asked == []  # no weights are there
    session.switch(candidate())
    session.encode_image(source, tiny.SAMPLER)
    session.decode(made_picture(session, inputs))
    session.round_trip(source, tiny.SAMPLER)
    assert asked == [64 * 64] * 3
    assert session.ways() == {"forward": "eager", "text encoder": "cpu"}
    # What any of them could not do reaches the user.
    session.notes.append("a")
    session._machine.store.notes = ["b"]
    session._machine.engine.notes.append("c")
    assert session.remarks() == session.engine_facts()["notes"] == ["a", "b", "c"]


def test_running_out_of_memory_is_no_wrong_picture(folder, loras, inputs, monkeypatch):
    """The CPU cannot step down: an error names the next profile."""
    from whichlora.errors import MachineError

    session = opened(folder, profiles.Settings(engine="fast"))

    def full(*_):
        raise torch.OutOfMemoryError("planted")

    session.switch(candidate(use(loras[0])))
    monkeypatch.setattr(session._machine.engine, "forward", full)
    with pytest.raises(MachineError, match="ran out of memory"):
        made_picture(session, inputs)
    assert session._settings.shortcuts == NONE


# --------------------------------------------------------------------------- one compilation


def test_one_program_serves_every_block_candidate_and_way_of_holding(folder, loras, inputs):
    """Dynamo traces once for two lengths of text, all blocks but the last, three candidates, resident and streamed
    weights; and once for the last block, of which less is wanted."""
    traced = []

    def backend(graph, _):
        traced.append(graph)
        return graph.forward

    torch._dynamo.reset()
    for hold in ("resident", "streamed"):
        session = opened(folder, profiles.Settings(engine="fast", hold=hold, compile=backend,
                                                   budget_bytes=small_budget()))
        for row in (candidate(), candidate(use(loras[0])), candidate(use(loras[1]), use(loras[0], 0.5))):
            session.switch(row)
            made_picture(session, inputs)
        assert session.engine_facts()["compiled"], session.engine_facts()["notes"]
    assert len(traced) == 2


def test_a_compiled_picture_does_not_depend_on_the_sizes_made_before_it():
    """Every size has programs of its own: one for all blocks but the last, one for the last."""
    from whichlora.families._qwen.engine import by_rule

    def programs(*sides):
        found = {}

        def backend(graph, examples):
            found.setdefault(side, []).append(
                [str(tuple(each.shape)) for each in examples if isinstance(each, torch.Tensor)])
            return graph.forward

        torch._dynamo.reset()
        engine = FastEngine(made, ResidentStore(made, "cpu", fuse=True), compiled=backend)
        for side in sides:
            shapes = [[(1, side, 4), (1, side, 4)]]
            noisy, text = torch.ones(1, 4 * side, 64), torch.ones(1, 5, 64)
            answers(engine, [Call("with", noisy, (noisy,), text, shapes)])
        assert engine.notes == []
        return found

    made = model()
    # Left alone, the compiler would make the second size's program serve the third.
    assert {side: len(each) for side, each in programs(2, 3, 4).items()} == {2: 2, 3: 2, 4: 2}
    torch._dynamo.reset()
    assert by_rule() == {"options": {"deterministic": True}} or not hasattr(torch._inductor.config, "deterministic")


def test_a_failing_compiler_leaves_the_same_picture_and_a_sentence(folder, inputs):
    def backend(graph, _):
        raise RuntimeError("no compiler here")

    torch._dynamo.reset()
    broken = opened(folder, profiles.Settings(engine="fast", compile=backend))
    plain = opened(folder, profiles.Settings(engine="fast", compile=False))
    assert torch.equal(made_picture(broken, inputs).tokens, made_picture(plain, inputs).tokens)
    facts = broken.engine_facts()
    assert facts["compiled"] is False
    assert len(facts["notes"]) == 1
    assert "no compiler here" in facts["notes"][0]
    torch._dynamo.reset()
