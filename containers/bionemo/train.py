"""torchrun --standalone --nproc-per-node=2 train.py --checkpoints /tmp/esm2

Trains ESM-2 on protein sequences, whose hidden residues it must find, by any number of processes
(DistributedDataParallel): gloo on CPUs, nccl on GPUs. Rank 0 prints one JSON object per line.
Started again with the same --checkpoints it goes on after the newest one with the numbers of an
unbroken run. Exit status of a process: 0 done, 1 it could not go on (a lost rank, a full disk),
2 wrong configuration, data or checkpoint, 3 the loss diverged.
"""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from configuration import MAY_CHANGE, Configuration, load
from model import Esm2
from proteins import NOT_COUNTED, Proteins
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from training import checkpoints, digests
from training.arguments import parser
from training.records import DIVERGED, WRONG_INPUT, Log, Stop, run
from training.speed import Meter

DEFAULT_CONFIGURATION = Path(__file__).resolve().parent / "configurations/tiny.json"
STATE = "state.pt"
FAILED = 1
BYTES_PER_WEIGHT = 16  # fp32: itself, its gradient, and two of AdamW


class Trainer:
    """The state of one training: the same on every rank."""

    def __init__(
        self, config: Configuration, folder: Path, data: Path | None, device: torch.device
    ) -> None:
        self.config, self.folder, self.device, self.step = config, folder, device, 0
        self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
        self.log = Log(self.rank)
        self.turns = turns(config, self.ranks)
        demand_room(config, device)
        self.proteins = Proteins(
            data,
            length=config.length,
            seed=config.seed,
            batch=config.global_batch_size,
            steps=config.steps,
        )
        self.network = Esm2(config.architecture)
        self.network.initialise(config.seed)
        self.network.to(device)
        self.model = DistributedDataParallel(self.network)
        self.optimizer = make_optimizer(config, self.network)
        tokens = config.global_batch_size * config.length
        flops = config.architecture.flops_per_token(config.length)
        self.meter = Meter(tokens, flops, self.ranks, device)
        # DDP lays out its gradient buckets anew after the first backward pass of a process, and
        # from then on sums in another order. Done once before step 1 and before any resume, an
        # unbroken and a resumed run add up alike, to the last bit.
        self._loss(*self.proteins.batch(0, self.rank, self.ranks)).backward()
        self.optimizer.zero_grad()

    def run(self) -> None:
        """Train to the last step, from the newest checkpoint if there is one, and evaluate."""
        self._say_start()
        self._resume()
        began = time.perf_counter()
        self.meter.restart()
        while self.step < self.config.steps:
            loss, tokens = self._train_step()
            speed, last = self.meter.step(), self.step == self.config.steps
            if self.step % self.config.log_every == 0 or last:
                rate = self.config.rate(self.step - 1)
                self.log("step", self.step, loss=loss, hidden=tokens, learning_rate=rate, **speed)
            if self.step % self.config.checkpoint_every == 0 or last:
                self._save()
                self.meter.restart()
        speed = {"seconds": round(time.perf_counter() - began, 3), "tokens_per_s": 0.0}
        speed |= self.meter.mean()
        digest = digests.of_copies(self.network.parameters())
        self.log("final", self.step, **speed, **self._evaluate(), parameters_sha256=digest)

    def _loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum over the hidden residues, in nats: fp32 scalar."""
        inputs, targets = inputs.to(self.device), targets.to(self.device)
        half = self.config.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            logits = self.model(inputs)
        flat = logits.flatten(0, 1).float()
        return cross_entropy(flat, targets.flatten(), ignore_index=NOT_COUNTED, reduction="sum")

    def _train_step(self) -> tuple[float, int]:
        """Do one optimizer step; return the global batch's mean loss, and its hidden residues."""
        batch = self.proteins.batch(self.step, self.rank, self.ranks)
        total = torch.zeros(2, dtype=torch.float64, device=self.device)
        total[1] = (batch[1] != NOT_COUNTED).sum()
        dist.all_reduce(total)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate(self.step)
        # DDP takes the mean over ranks, each of which hides as many residues as chance wills; times
        # the number of ranks, over all hidden ones, it is the exact mean over residues.
        scale = self.ranks / total[1].item()
        parts = zip(*(part.chunk(self.turns) for part in batch), strict=True)
        for turn in parts:
            loss = self._loss(*turn)
            (loss * scale).backward()
            total[0] += loss.detach()
        mean = total[0].clone()
        dist.all_reduce(mean)
        loss_value, hidden = mean.item() / total[1].item(), int(total[1])
        norm = clip_grad_norm_(self.network.parameters(), self.config.gradient_clip).item()
        if not math.isfinite(loss_value + norm):
            told = f"the loss is {loss_value}, the gradient's norm {norm}"
            raise Stop(DIVERGED, f"{told} at step {self.step + 1}")
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        return loss_value, hidden

    def _save(self) -> None:
        """Write a checkpoint on rank 0; all ranks stop if it cannot be written."""
        trouble = torch.zeros(1, device=self.device)
        error: OSError | RuntimeError | None = None
        if self.rank == 0:
            try:
                self._write()
            except (OSError, RuntimeError) as full:  # torch tells of a full disk by the latter
                error, trouble[0] = full, 1
                checkpoints.discard_partial(self.folder)
        dist.all_reduce(trouble)
        if trouble.item():
            newest = checkpoints.newest(self.folder)
            kept = f"that of step {newest[1]['step']} is whole" if newest else "there is none"
            told = f"the checkpoint of step {self.step} cannot be written: {error}; {kept}"
            raise Stop(FAILED, told)
        self.log("checkpoint", self.step)

    def _write(self) -> None:
        state = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        folder = checkpoints.folder_of(self.folder, self.step)
        folder.mkdir(parents=True, exist_ok=True)
        checkpoints.write_file(folder / STATE, lambda file: torch.save(state, file))
        about = {"step": self.step, "configuration": asdict(self.config)}
        checkpoints.complete(folder, about, self.config.keep_checkpoints)

    def _resume(self) -> None:
        """Go on after rank 0's newest checkpoint; the others need not see its folder."""
        if self.rank == 0:
            checkpoints.discard_partial(self.folder)
        box: list[Any] = [checkpoints.newest(self.folder) if self.rank == 0 else None]
        dist.broadcast_object_list(box, src=0)
        if box[0] is None:
            return
        folder, about = box[0]
        then, now = about["configuration"], asdict(self.config)
        checkpoints.demand_same(then, now, folder, MAY_CHANGE)
        box = [self._read(folder) if self.rank == 0 else None]
        dist.broadcast_object_list(box, src=0)
        if isinstance(box[0], str):
            raise Stop(WRONG_INPUT, box[0])
        self.network.load_state_dict(box[0]["network"])
        self.optimizer.load_state_dict(box[0]["optimizer"])
        self.step = about["step"]
        self.log("resume", self.step)

    def _read(self, folder: Path) -> dict[str, Any] | str:
        try:
            return dict(torch.load(folder / STATE, map_location="cpu", weights_only=True))
        except Exception as error:  # noqa: BLE001  # whatever a damaged file makes of the reader
            told = f"{folder} is damaged: {type(error).__name__}"
            return f"{told}; remove it to go on from the one before"

    @torch.no_grad()
    def _evaluate(self) -> dict[str, Any]:
        """Return loss and accuracy on the hidden residues of the sequences held out."""
        total = torch.zeros(4, dtype=torch.float64, device=self.device)
        size = self.config.micro_batch_size
        for batch in self.proteins.held_out(size, self.rank, self.ranks):
            inputs, targets = (part.to(self.device) for part in batch)
            logits, counted = self.network(inputs), targets != NOT_COUNTED
            right = (logits.argmax(-1) == targets)[counted]
            loss = cross_entropy(logits[counted].float(), targets[counted], reduction="sum")
            sums = [loss.item(), int(right.sum()), int(counted.sum()), len(inputs)]
            total += torch.tensor(sums, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        loss_sum, hits, hidden, sequences = total.tolist()
        return {
            "loss": loss_sum / hidden,
            "accuracy": hits / hidden,
            "hidden": int(hidden),
            "held_out": int(sequences),
        }

    def _say_start(self) -> None:
        shape = self.config.architecture
        facts = {"world_size": self.ranks, "backend": dist.get_backend()}
        facts |= {"torch": torch.__version__, "parameters": shape.parameters()}
        facts |= {"samples": len(self.proteins.train)}
        self.log("start", 0, **facts, configuration=asdict(self.config))


def turns(config: Configuration, ranks: int) -> int:
    """In how many turns a rank does its share of a global batch.

    Raises:
        Stop: The ranks cannot have equal shares.
    """
    share, rest = divmod(config.global_batch_size, ranks)
    if rest or not share:
        message = f"{ranks} ranks do not divide global_batch_size, {config.global_batch_size}"
        raise Stop(WRONG_INPUT, message)
    return math.ceil(share / config.micro_batch_size)


def demand_room(config: Configuration, device: torch.device) -> None:
    """Refuse a model of which every GPU would have to hold more than it can.

    Raises:
        Stop: Weights, gradients and optimizer alone are larger than the memory.
    """
    if device.type != "cuda":
        return
    needed = config.architecture.parameters() * BYTES_PER_WEIGHT
    memory = torch.cuda.get_device_properties(device).total_memory
    if needed > memory:
        told = f"each process holds the whole model, {needed / 2**30:.0f} GiB with its optimizer"
        told += f", and a GPU has {memory / 2**30:.0f} GiB"
        raise Stop(WRONG_INPUT, f"{told}; take BioNeMo's own program, see framework.py")


def make_optimizer(config: Configuration, network: nn.Module) -> torch.optim.AdamW:
    """Return AdamW, which lets matrices decay, and neither biases nor norms."""
    parameters = list(network.parameters())
    matrices = [p for p in parameters if p.dim() == 2]
    others = [p for p in parameters if p.dim() != 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    first, second = config.betas
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(first, second))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one rank.

    Raises:
        Stop: It cannot go on; with the exit status and the reason.
    """
    made = parser(DEFAULT_CONFIGURATION, changes=False)
    made.add_argument("--data", type=Path, help="a FASTA file of proteins")
    options = made.parse_args(arguments)
    config = load(options.configuration)
    try:
        options.checkpoints.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Stop(WRONG_INPUT, f"{options.checkpoints} cannot be written: {error}") from error
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    patience = timedelta(seconds=options.timeout_s)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=patience)
    Trainer(config, options.checkpoints, options.data, device).run()
    dist.destroy_process_group()


if __name__ == "__main__":
    run(main)
