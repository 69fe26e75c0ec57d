"""How fast a training is, in what everybody reports: tokens per second, MFU, memory."""

import time
from resource import RUSAGE_SELF, getrusage

import torch

PEAK_TFLOPS = {
    "A100": 312.0,
    "H100": 989.4,
    "H200": 989.4,
    "B200": 2250.0,
    "B300": 2250.0,
    "GB200": 2500.0,
    "A10G": 70.0,
    "L4": 121.0,
}
"""Dense bf16 TFLOP/s of one GPU by the vendor's data sheets, of the SXM module where there are
several; those of A10G and L4 without sparsity."""


def peak_flops(device: torch.device) -> float | None:
    """Return the bf16 FLOP/s of a device at its best; None where no data sheet says."""
    if device.type != "cuda":
        return None
    words = torch.cuda.get_device_name(device).replace("-", " ").split()
    return next((1e12 * PEAK_TFLOPS[word] for word in words if word in PEAK_TFLOPS), None)


class Meter:
    """Measures steps; the first ones, in which memory is laid out and kernels are made, not."""

    def __init__(
        self,
        tokens_per_step: int,
        flops_per_token: float,
        devices: int,
        device: torch.device,
        warm_up: int = 2,
    ) -> None:
        """Begin.

        Args:
            tokens_per_step: Of the global batch.
            flops_per_token: Of the model's forward and backward pass, without what activation
                checkpointing does again (model FLOPs utilisation, not hardware's).
            devices: How many share the work.
            device: One of them.
            warm_up: Steps that count neither for the mean nor for MFU.
        """
        self.tokens_per_step, self.device, self.warm_up = tokens_per_step, device, warm_up
        peak = peak_flops(device)
        self.share_of_peak = flops_per_token / devices / peak if peak else None
        self.steps, self.seconds, self.began = 0, 0.0, time.perf_counter()

    def restart(self) -> None:
        """Leave out what happened since the last step: a checkpoint, or an evaluation."""
        self._wait()
        self.began = time.perf_counter()

    def step(self) -> dict[str, float]:
        """Take a step's time; return tokens_per_s, mfu (where defined) and mem_gib."""
        self._wait()
        now = time.perf_counter()
        seconds, self.began = now - self.began, now
        self.steps += 1
        if self.steps > self.warm_up:
            self.seconds += seconds
        return {**self._rates(self.tokens_per_step / seconds), "mem_gib": self.memory_gib()}

    def mean(self) -> dict[str, float]:
        """Return tokens_per_s and mfu (where defined) over all steps after the warm-up."""
        counted = self.steps - self.warm_up
        return self._rates(self.tokens_per_step * counted / self.seconds) if counted > 0 else {}

    def memory_gib(self) -> float:
        """Return the most memory that this rank had: of its GPU, or of its process on a CPU."""
        if self.device.type == "cuda":
            return round(torch.cuda.max_memory_allocated(self.device) / 2**30, 3)
        return round(getrusage(RUSAGE_SELF).ru_maxrss / 2**20, 3)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _rates(self, tokens_per_s: float) -> dict[str, float]:
        found = {"tokens_per_s": round(tokens_per_s, 1)}
        if self.share_of_peak is not None:
            found["mfu"] = round(tokens_per_s * self.share_of_peak, 4)
        return found
