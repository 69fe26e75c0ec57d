"""torchrun --standalone --nproc-per-node=2 train.py --checkpoints /tmp/digits

Data-parallel training (DDP) of a small network on scikit-learn's handwritten digits, by any number
of processes: gloo on CPUs, nccl on GPUs. Rank 0 prints one JSON object per line. Started again with
the same --checkpoints, it continues after the newest one with the numbers of an unbroken run.
Exit status of a process: 0 done, 1 it cannot go on (a lost rank, a full disk), 2 wrong
configuration or checkpoint, 3 the loss diverged.
"""

import argparse
import io
import json
import math
import os
import pickle
import sys
import time
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

DEFAULT_CONFIGURATION = Path(__file__).resolve().parent / "configurations/digits-cnn.json"
SIDE, CLASSES = 8, 10


class Stop(Exception):  # noqa: N818
    """Ends this process with an exit status, as the module says, and a message."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One configurations/*.json file; every field must be given."""

    channels: list[int]  # of each 3x3 convolution; none at all makes a multi-layer perceptron
    hidden: int  # width of the fully connected layer
    dropout: float  # of hidden units; makes the random state part of a correct resume
    seed: int
    steps: int  # of the whole training
    global_batch_size: int  # over all ranks; an epoch's last batch may be smaller
    learning_rate: float  # highest of the one-cycle schedule
    weight_decay: float
    log_every: int  # steps
    checkpoint_every: int  # steps
    keep_checkpoints: int  # newest ones

    def __post_init__(self) -> None:
        counts = "hidden steps global_batch_size log_every checkpoint_every keep_checkpoints"
        limits = dict.fromkeys(counts.split(), (1, math.inf))
        limits |= {"learning_rate": (0, math.inf), "weight_decay": (0, math.inf)}
        limits |= {"dropout": (0, 0.99), "seed": (0, 2**32)}
        for name, (low, high) in limits.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise Stop(2, f"{name} is {value}; it must be from {low} to {high}")

    @classmethod
    def load(cls, path: Path) -> "Configuration":
        """Read a file; unknown, missing and wrongly typed keys are errors that name the key."""
        try:
            values = dict(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise Stop(2, f"{path} cannot be read: {error}") from error
        types = {field.name: field.type for field in fields(cls)}
        if wrong := sorted(values.keys() ^ types.keys()):
            raise Stop(2, f"{path}: missing or unknown keys: {', '.join(wrong)}")
        for name, kind in types.items():
            accepted = {int: int, float: (int, float)}.get(kind, list)
            if isinstance(values[name], bool) or not isinstance(values[name], accepted):
                raise Stop(2, f"{path}: {name} is {values[name]!r}; it must be {kind.__name__}")
        return cls(**values)


def load_digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return images, labels, and those held out: of each class every fifth, in file order."""
    # Read from scikit-learn's own file: importing scikit-learn would double the start-up time.
    package = Path(find_spec("sklearn").origin).parent
    table = np.loadtxt(package / "datasets/data/digits.csv.gz", delimiter=",")
    images = torch.tensor(table[:, :-1] / 16, dtype=torch.float32).reshape(-1, 1, SIDE, SIDE)
    labels = torch.tensor(table[:, -1], dtype=torch.int64)
    test = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(CLASSES):
        test[torch.nonzero(labels == label)[::5]] = True
    return images[~test], labels[~test], images[test], labels[test]


class EpochSampler:
    """Deals every sample exactly once per epoch, in global batches that do not depend on the number
    of ranks: of each, rank r of n takes samples r, r + n, and so on. A resume may change n."""

    def __init__(self, samples: int, batch: int, seed: int) -> None:
        self.samples, self.batch, self.seed = samples, batch, seed
        self.epoch = self.offset = 0

    def next_batch(self, rank: int, ranks: int) -> tuple[Tensor, int]:
        """Return this rank's sample indices and the size of the global batch, and move on."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.samples, generator=generator)
        batch = order[self.offset : self.offset + self.batch]
        self.offset += len(batch)
        if self.offset == self.samples:
            self.epoch, self.offset = self.epoch + 1, 0
        return batch[rank::ranks], len(batch)

    def state_dict(self) -> dict[str, int]:
        """Return the position: epoch, and offset in samples."""
        return {"epoch": self.epoch, "offset": self.offset}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a position."""
        self.epoch, self.offset = state["epoch"], state["offset"]


def build_model(config: Configuration) -> nn.Sequential:
    """Return convolutions, one hidden layer, ten logits."""
    layers, width = [], 1
    for channels in config.channels:
        layers += [nn.Conv2d(width, channels, kernel_size=3, padding=1), nn.ReLU()]
        width = channels
    layers += [nn.Flatten(), nn.Linear(width * SIDE**2, config.hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(config.dropout), nn.Linear(config.hidden, CLASSES))


def save_checkpoint(state: dict, directory: Path, keep: int) -> None:
    """Write a checkpoint so that a crash at any moment leaves only whole ones; keep the newest."""
    target = directory / f"step-{state['step']:08d}.pt"
    temporary = target.with_suffix(".tmp")
    content = io.BytesIO()
    torch.save(state, content)  # not into the file: torch would hide that the disk is full
    try:
        with temporary.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        before = sorted(directory.glob("step-*.pt"))
        kept = f"{before[-1].name} before it is whole" if before else "there is none before it"
        raise Stop(1, f"the checkpoint {target.name} cannot be written: {error}; {kept}") from error
    folder = os.open(directory, os.O_RDONLY)  # the new name is durable only once the folder is
    os.fsync(folder)
    os.close(folder)
    for old in sorted(directory.glob("step-*.pt"))[:-keep]:
        old.unlink()


def load_checkpoint(directory: Path) -> dict | None:
    """Return the newest checkpoint that can be read; None if there is none at all."""
    paths = sorted(directory.glob("step-*.pt"), reverse=True)
    for path in paths:
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (EOFError, RuntimeError, pickle.UnpicklingError) as error:
            print(f"{path} is damaged, set aside: {type(error).__name__}", file=sys.stderr)
            path.rename(path.with_suffix(".damaged"))
    if paths:
        raise Stop(2, f"none of the {len(paths)} checkpoints in {directory} can be read")
    return None


class Trainer:
    """The state of one training: the same on every rank, but for the random numbers."""

    stateful = ("network", "optimizer", "schedule", "sampler")

    def __init__(self, config: Configuration, checkpoints: Path) -> None:
        self.config, self.checkpoints, self.step = config, checkpoints, 0
        self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
        self.cuda = torch.cuda.is_available()
        self.random = torch.cuda if self.cuda else torch  # where dropout takes its numbers from
        self.device = torch.device("cuda" if self.cuda else "cpu")
        data = [part.to(self.device) for part in load_digits()]
        self.images, self.labels, self.test_images, self.test_labels = data
        torch.manual_seed(config.seed)
        self.network = build_model(config).to(self.device)
        self.model = DistributedDataParallel(self.network)
        decay, rate = config.weight_decay, config.learning_rate
        self.optimizer = torch.optim.AdamW(self.network.parameters(), weight_decay=decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, rate, config.steps)
        self.sampler = EpochSampler(len(self.images), config.global_batch_size, config.seed)
        # DDP lays out its gradient buckets anew after the first backward pass of a process, and
        # from then on sums in another order. Done once before step 1 and before any resume, an
        # unbroken and a resumed run add up alike, to the last bit.
        cross_entropy(self.model(self.images[:2]), self.labels[:2]).backward()
        self.optimizer.zero_grad()
        torch.manual_seed(config.seed + 1 + self.rank)

    def _log(self, event: str, **values: object) -> None:
        if self.rank == 0:
            print(json.dumps({"event": event, "step": self.step, **values}), flush=True)

    def _train_step(self) -> tuple[float, int]:
        """Do one optimizer step; return the mean loss over the global batch, and its size."""
        mine, size = self.sampler.next_batch(self.rank, self.ranks)
        logits = self.model(self.images[mine])
        loss = cross_entropy(logits, self.labels[mine], reduction="sum") / size
        # DDP takes the mean over ranks, whose shares may differ by one sample; times the number of
        # ranks it is the exact mean over samples.
        (loss * self.ranks).backward()
        dist.all_reduce(loss := loss.detach())
        if not math.isfinite(loss.item()):
            raise Stop(3, f"the loss is {loss.item()} at step {self.step + 1}")
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self.step += 1
        return loss.item(), size

    def _save(self) -> None:
        states = [None] * self.ranks
        dist.all_gather_object(states, self.random.get_rng_state())
        if self.rank == 0:
            state = {part: getattr(self, part).state_dict() for part in self.stateful}
            state |= {"step": self.step, "configuration": asdict(self.config), "random": states}
            save_checkpoint(state, self.checkpoints, self.config.keep_checkpoints)
        self._log("checkpoint")

    def _resume(self) -> None:
        box = [load_checkpoint(self.checkpoints) if self.rank == 0 else None]
        dist.broadcast_object_list(box, src=0)  # so that all ranks agree, whatever their disks hold
        if (state := box[0]) is None:
            return
        now, then = asdict(self.config), state["configuration"]
        if changed := {key: (then.get(key), now[key]) for key in now if then.get(key) != now[key]}:
            raise Stop(2, f"{self.checkpoints} is of another configuration (then, now): {changed}")
        self.step = state["step"]
        for part in self.stateful:
            getattr(self, part).load_state_dict(state[part])
        if self.rank < len(state["random"]):  # ranks that were not there keep fresh seeds
            self.random.set_rng_state(state["random"][self.rank])
        self._log("resume", **self.sampler.state_dict())

    def _evaluate(self) -> dict[str, object]:
        """Return the accuracy on the held-out samples, shared out over the ranks, and a digest."""
        network, mine = self.network.eval(), slice(self.rank, None, self.ranks)
        with torch.no_grad():
            right = network(self.test_images[mine]).argmax(dim=1) == self.test_labels[mine]
        counts = torch.tensor([int(right.sum()), len(right)], device=self.device)
        dist.all_reduce(counts)
        content = b"".join(value.detach().cpu().numpy().tobytes() for value in network.parameters())
        digests = [None] * self.ranks
        dist.all_gather_object(digests, sha256(content).hexdigest())
        if len(set(digests)) != 1:
            raise RuntimeError(f"the ranks ended with different parameters: {digests}")
        hits, held_out = counts.tolist()
        return {"accuracy": hits / held_out, "held_out": held_out, "parameters_sha256": digests[0]}

    def run(self) -> None:
        """Train to the last step, from the newest checkpoint if there is one, and evaluate."""
        facts = {"world_size": self.ranks, "backend": dist.get_backend()}
        facts |= {"torch": torch.__version__, "samples": len(self.images)}
        self._log("start", **facts, configuration=asdict(self.config))
        self._resume()
        began, samples = time.perf_counter(), 0
        while self.step < self.config.steps:
            epoch, started = self.sampler.epoch, time.perf_counter()
            loss, size = self._train_step()
            rate, samples = size / (time.perf_counter() - started), samples + size
            last = self.step == self.config.steps
            if self.step % self.config.log_every == 0 or last:
                peak = getrusage(RUSAGE_SELF).ru_maxrss * 2**10
                peak = torch.cuda.max_memory_allocated() if self.cuda else peak
                speed = {"samples_per_s": round(rate, 1), "mem_gib": round(peak / 2**30, 3)}
                self._log("step", epoch=epoch, loss=loss, **speed)
            if self.step % self.config.checkpoint_every == 0 or last:
                self._save()
        seconds = time.perf_counter() - began
        speed = {"seconds": round(seconds, 3), "samples_per_s": round(samples / seconds, 1)}
        self._log("final", **speed, **self._evaluate())


def main() -> int:
    """Run one rank; return its exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--configuration", type=Path, default=DEFAULT_CONFIGURATION)
    parser.add_argument("--checkpoints", type=Path, required=True, help="a folder")
    parser.add_argument("--timeout-s", type=float, default=120, help="patience with other ranks")
    options = parser.parse_args()
    patience, cuda = timedelta(seconds=options.timeout_s), torch.cuda.is_available()
    try:
        config = Configuration.load(options.configuration)
        options.checkpoints.mkdir(parents=True, exist_ok=True)
        if cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if cuda else "gloo", timeout=patience)
        Trainer(config, options.checkpoints).run()
    except Stop as stop:
        status, message = stop.args
        record = {"event": "error", "status": status, "message": message}
        if rank := int(os.environ.get("RANK", "0")):
            record["rank"] = rank
            time.sleep(1)  # rank 0 tells first, unless it is well or has not come so far
        print(json.dumps(record), flush=True)
        return status
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    # Not sys.exit: a gloo thread that still holds a tensor when the interpreter is taken down
    # aborts the process, in about one of fifty runs (pytorch pull request 179291).
    os._exit(main())
