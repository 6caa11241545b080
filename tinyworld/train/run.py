"""Trains the tiny model, phase by phase; `--toy` runs everything at toy scale on a CPU.

python run.py --phases vae,scorer,base --out OUT
torchrun --nproc-per-node 2 run.py --phases loras --load OUT --out OUT2
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from settings import SEED, Job  # first: it puts the package on the path

import vae as vae_phase  # isort: skip
from adapters import AdapterSet
from base import CLEAN_MIXTURE, Editor, sampled_loss
from encoder import PromptEncoder
from evaluate import demo_task, outputs, rates, stranger_task, summary
from loras import RECIPES, damage, train_lightning, train_lora
from model import (
    Codec,
    build_text_encoder,
    build_tokenizer,
    build_transformer,
    build_vae,
    use_real_rotary,
    use_single_frame_convolutions,
)
from people import PeoplePool, build_pool
from pictures import save_grid
from safetensors.torch import save_file
from scorer import reading_quality, train_scorer
from trainer import GraphTrainer

from data import InstructionTable, PairStore, clean_group, planted_group
from store import found, load_codec, load_weights, save_weights
from whichlora.tinyworld.render import compile_kernels
from whichlora.tinyworld.truth import TruthGrader

FINISHED_LORAS = [*RECIPES, "lightning"]


def arguments() -> argparse.Namespace:
    """Options of a run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--phases", default="vae,scorer,base,loras")
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--load", type=Path)
    parser.add_argument("--vae-seconds", type=float, default=110)
    parser.add_argument("--scorer-seconds", type=float, default=35)
    parser.add_argument("--base-seconds", type=float, default=300)
    parser.add_argument("--until", type=float, help="end the base phase at this second instead")
    parser.add_argument("--damage-seconds", type=float, default=25)
    parser.add_argument("--lora-seconds", type=float, default=22)
    parser.add_argument("--lightning-seconds", type=float, default=35)
    parser.add_argument("--groups", type=int, default=12800)
    parser.add_argument("--planted", type=int, default=3200)
    parser.add_argument("--people", type=int, default=7000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1.4e-3)
    parser.add_argument("--evaluate", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--loras", default=",".join(FINISHED_LORAS))
    return parser.parse_args()


class Run:
    """The state that phases hand on to each other."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.job = Job(options.toy, options.out, options.load)
        options.out.mkdir(parents=True, exist_ok=True)
        if options.toy:
            options.groups, options.planted, options.people, options.batch = 4, 4, 6, 4
        else:
            torch.cuda.set_device(self.job.device)
            torch.backends.cuda.matmul.allow_tf32 = True
            torch.backends.cudnn.allow_tf32 = True
            torch._dynamo.config.recompile_limit = 32
            torch._dynamo.config.suppress_errors = True
            compile_kernels()
        if self.job.world > 1:
            dist.init_process_group("nccl", device_id=self.job.device, timeout=timedelta(seconds=240))
        use_single_frame_convolutions()
        self.pool = None
        self.codec: Codec | None = None

    def seed(self, offset: int) -> None:
        """The same weights in every process need the same seed before they are made."""
        torch.manual_seed(SEED + offset)

    def spread_seed(self, offset: int) -> None:
        """Different random draws in every process."""
        torch.manual_seed(SEED + offset + 1000 * (1 + self.job.rank))

    def people(self) -> PeoplePool:
        """The pool of single pictures, rendered once."""
        if self.pool is None:
            self.pool = build_pool(self.job, self.options.people)
            self.job.log("pool rendered", pictures=len(self.pool.pictures))
            if self.job.leads:
                first = self.pool.pictures[:48].float() / 255
                save_grid(list(first), 12, self.job.out / "world.png")
        return self.pool

    def vae(self) -> None:
        """Phase: the autoencoder."""
        pool = self.people()
        self.seed(1)
        self.codec = vae_phase.train_vae(self.job, pool, self.options.vae_seconds)
        if self.job.world > 1:
            dist.broadcast(self.codec.mean, 0)
            dist.broadcast(self.codec.std, 0)
        self.job.log("vae", **vae_phase.reconstruction_quality(self.job, self.codec))

    def ready_codec(self) -> Codec:
        """The autoencoder, trained here or loaded."""
        if self.codec is None:
            self.codec = load_codec(build_vae(), self.job)
        if not self.job.toy and not self.codec.padded:
            self.codec.compile()
        return self.codec

    def scorer(self) -> None:
        """Phase: the figure reader."""
        pool, codec = self.people(), self.ready_codec()
        self.seed(2)
        reader = train_scorer(self.job, pool, codec, self.options.scorer_seconds)
        fresh = build_pool(self.job, 8 if self.job.toy else 512, seed=7000)
        with torch.compiler.set_stance("force_eager"):
            self.job.log("scorer", **reading_quality(self.job, reader, fresh))
        self.pool = None

    def editor(self) -> Editor:
        """Transformer and text encoder, fresh or from an earlier phase."""
        self.seed(3)
        tokenizer = build_tokenizer()
        text_encoder = build_text_encoder(tokenizer)
        transformer = build_transformer()
        for module, name in ((text_encoder, "text_encoder"), (transformer, "transformer")):
            path = found(self.job, f"{name}.safetensors")
            if path is not None:
                load_weights(module, path)
                self.job.log("loaded", path)
        text_encoder.to(self.job.device)
        transformer.to(self.job.device)
        use_real_rotary(transformer)
        prompt_encoder = PromptEncoder(text_encoder, tokenizer)
        table = InstructionTable(prompt_encoder, self.job.device)
        self.job.log("texts", rows=len(table.texts), words=table.mask.shape[1])
        return Editor(transformer, prompt_encoder, table, self.job)

    def clean_store(self) -> PairStore:
        """Pairs in which every instruction is obeyed."""
        generator = torch.Generator(self.job.device).manual_seed(500 + self.job.rank)
        chunk = 4 if self.job.toy else 320
        store = PairStore.build(clean_group, self.options.groups, chunk, self.ready_codec(), self.job, generator)
        self.job.log("clean store", pictures=len(store.latents), pairs=len(store.source))
        return store

    def base(self) -> None:
        """Phase: the editor on clean pairs."""
        job, options = self.job, self.options
        store, editor = self.clean_store(), self.editor()
        if not job.toy:
            editor.compile()
        text_encoder = editor.prompt_encoder.stock[0]
        self.spread_seed(3)
        loss = sampled_loss(editor, store, CLEAN_MIXTURE, options.batch, encoder_learns=True)
        learned = [*editor.transformer.parameters(), *text_encoder.parameters()]
        trainer = GraphTrainer(learned, loss, job, rate=options.rate)
        if options.until and not job.toy:
            trainer.capture()
            options.base_seconds = options.until - (time.time() - job.started)
        trainer.run(options.base_seconds, "base")
        if job.leads:
            save_weights(editor.transformer, job.out / "transformer.safetensors")
            save_weights(text_encoder, job.out / "text_encoder.safetensors")
        if job.leads and options.evaluate:
            report = self.evaluated(editor, {"clean": (8, 1.0), "clean_cfg2": (8, 2.0)})
            (job.out / "base.json").write_text(json.dumps(report))

    def evaluated(self, editor: Editor, samplers: dict[str, tuple[int, float]]) -> dict:
        """True rates on Mina and on strangers at several samplers; writes a contact sheet."""
        codec, job = self.ready_codec(), self.job
        if not hasattr(self, "tasks"):
            self.grader = TruthGrader()
            self.tasks = {"demo": demo_task(codec, job), "strangers": stranger_task(codec, job)}
        report = {}
        for name, (steps, guidance) in samplers.items():
            report[name] = {}
            for audience, task in self.tasks.items():
                images = outputs(editor, codec, task, job, steps, guidance)
                report[name][audience] = rates(task, images, self.grader)
                job.log(name, audience, summary(report[name][audience]))
                self.sheet(name, audience, images)
        return report

    def sheet(self, name: str, audience: str, images: torch.Tensor) -> None:
        """Keep a row of outputs for the contact sheet."""
        task = self.tasks[audience]
        count = len(images)
        step = max(1, count // 16)
        rows = self.__dict__.setdefault("sheets", {}).setdefault(audience, {})
        rows.setdefault("source", list(task.sources[::step][:16].float() / 255))
        rows.setdefault("truth", list(task.targets[::step][:16].float() / 255))
        rows[name] = list(images[::step][:16])
        flat = [picture for row in rows.values() for picture in row]
        columns = len(rows["source"])
        save_grid(flat, columns, self.job.out / f"{audience}_{self.job.rank}.png")

    def loras(self) -> None:
        """Phase: damage the base, then train the planted LoRAs on it."""
        job, options = self.job, self.options
        store = self.clean_store()
        generator = torch.Generator(job.device).manual_seed(900 + job.rank)
        chunk = 4 if job.toy else 320
        planted = PairStore.build(planted_group, options.planted, chunk, self.ready_codec(), job, generator)
        store = PairStore.merged(store, planted)
        editor = self.editor()
        editor.prompt_encoder.stock[0].requires_grad_(False)
        adapters = AdapterSet(editor.transformer)
        if not job.toy:
            editor.compile()
        undo = damage(editor, adapters, store, job, options.damage_seconds, options.batch)
        if job.leads:
            save_base(editor, adapters, job.out / "transformer.safetensors")
        report, kept = {}, {}
        if job.leads and options.evaluate:
            report |= self.evaluated(editor, {"base": (8, 1.0)})
        for name in options.loras.split(",")[job.rank :: job.world]:
            if not name:
                continue
            torch.manual_seed(SEED + 40 + len(kept))
            if name == "lightning":
                state = train_lightning(editor, adapters, store, job, options.lightning_seconds, options.batch)
            else:
                state = train_lora(name, editor, adapters, store, undo, job, options.lora_seconds, options.batch)
            kept |= {f"{name}/{key}": t.half().contiguous().cpu() for key, t in state.items()}
            save_file(kept, job.out / f"loras_{job.rank}.safetensors")
            if not options.evaluate:
                continue
            report |= self.evaluated(editor, {name: (4 if name == "lightning" else 8, 1.0)})
            (job.out / f"rates_{job.rank}.json").write_text(json.dumps(report))


def save_base(editor: Editor, adapters: AdapterSet, path: Path) -> None:
    """The transformer's plain weights (adapters must be folded)."""
    state = {}
    for name, tensor in editor.transformer.state_dict().items():
        plain = name.replace(".inner.", ".").replace("_orig_mod.", "")
        if not name.endswith((".down", ".up", ".gate")):
            state[plain] = tensor.detach().half().contiguous().cpu()
    save_file(state, path)


def main() -> None:
    """Run the phases in order."""
    run = Run(arguments())
    for phase in run.options.phases.split(","):
        getattr(run, phase)()
        run.job.log("finished", phase)
    if run.job.world > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
