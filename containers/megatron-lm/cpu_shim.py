"""Leads the calls to CUDA that megatron-core 0.16.1 makes to the CPU, where there is no GPU.

For tests on a machine without one: it shows that splits, schedules, optimizer and checkpoints do
what they should, not that Megatron supports CPUs, which it does not. Never loaded where there is a
GPU. Places are those of megatron/core.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

CPU = torch.device("cpu")
# pipeline_parallel/schedules.py:596 and :2138 (tokens), optimizer/clip_grads.py:90 and :174 (norm),
# optimizer/optimizer.py:473 and :485 (found_inf, scale), transformer/utils.py (the causal mask).
FACTORIES = "zeros empty ones full tensor arange"


def install() -> None:
    """Redirect them. Before anything of Megatron runs.

    Raises:
        RuntimeError: There is a GPU.
    """
    if torch.cuda.is_available():
        raise RuntimeError("there is a GPU: the shim is for machines that have none")
    for name in FACTORIES.split():
        setattr(torch, name, _on_cpu(getattr(torch, name)))
    # tensor_parallel/layers.py, mappings.py, distributed/param_and_grad_buffer.py:806,
    # pipeline_parallel/p2p_communication.py, utils.py:631 (GlobalMemoryBuffer): where buffers go.
    torch.cuda.current_device = _cpu
    # pipeline_parallel/p2p_communication.py:398 (after sends), parallel_state.py:198.
    torch.cuda.synchronize = _nothing
    # tensor_parallel/random.py:235-238 and :422: states of the CUDA generator.
    torch.cuda.get_rng_state = torch.cuda.random.get_rng_state = _random_state
    torch.cuda.manual_seed = torch.manual_seed
    # optimizer/optimizer.py:375, transformer/utils.py, models/common/language_module: data to GPU.
    torch.Tensor.cuda = _unmoved
    # optimizer/distrib_optimizer.py:361 and :420, optimizer/optimizer.py:671, clip_grads.py:167
    # ask for the type by its name, "torch.cuda.FloatTensor".
    torch.Tensor.type = _named_as_on_a_gpu(torch.Tensor.type)
    from megatron.core.tensor_parallel import random  # noqa: PLC0415  # after what is above

    # tensor_parallel/random.py:74: sets the state of a CUDA generator.
    random._set_cuda_rng_state = _set_random_state  # noqa: SLF001


def _cpu() -> torch.device:
    return CPU


def _nothing(*_: Any) -> None:
    pass


def _unmoved(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return tensor


def _random_state(*_: Any, **__: Any) -> torch.Tensor:
    return torch.get_rng_state()


def _set_random_state(state: torch.Tensor, *_: Any, **__: Any) -> None:
    torch.set_rng_state(state)


def _on_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def made(*values: Any, **options: Any) -> Any:
        if str(options.get("device", "")).startswith("cuda"):
            options["device"] = CPU
        return function(*values, **options)

    return made


def _named_as_on_a_gpu(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def named(tensor: torch.Tensor, *values: Any, **options: Any) -> Any:
        answer = method(tensor, *values, **options)
        return answer.replace("torch.", "torch.cuda.") if isinstance(answer, str) else answer

    return named
