"""Leads the calls to an accelerator that torchtitan 0.2.2 makes to the CPU, where there is no GPU.

For tests on a machine without one: it shows that splits, data and checkpoints do what they
should, not that torchtitan supports CPUs. Never loaded where there is a GPU. Places are those of
torchtitan.
"""

from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch import _utils
from torch.distributed.fsdp import FSDPModule

CAPACITY = 2**30


def install() -> None:
    """Redirect them. Before torchtitan is imported.

    Raises:
        RuntimeError: There is a GPU.
    """
    if torch.cuda.is_available():
        raise RuntimeError("there is a GPU: the shim is for machines that have none")
    # tools/utils.py, get_device_info: without an accelerator it takes cuda.
    _utils._get_available_device_type = _cpu  # noqa: SLF001
    # components/metrics.py, DeviceMemoryMonitor: torch.cpu has no such functions.
    torch.cpu.get_device_name = _cpu
    torch.cpu.get_device_properties = _properties
    torch.cpu.reset_peak_memory_stats = torch.cpu.empty_cache = _nothing
    torch.cpu.memory_stats = _no_statistics
    # distributed/utils.py, set_pg_timeouts: gloo takes no device_ids.
    dist.barrier = _without_devices(dist.barrier)
    # models/llama3/infra/parallelize.py, set_gradient_divide_factor: FSDP then asks for a sum with
    # a factor, which gloo has not; as a plain sum it comes to the same.
    FSDPModule.set_gradient_divide_factor = _plain_sum(FSDPModule.set_gradient_divide_factor)


def _cpu(*_: Any) -> str:
    return "cpu"


def _properties(*_: Any) -> SimpleNamespace:
    return SimpleNamespace(total_memory=CAPACITY)


def _nothing(*_: Any) -> None:
    pass


def _no_statistics(*_: Any) -> dict[str, int]:
    return {}


def _without_devices(barrier: Any) -> Any:
    def wait(*values: Any, **options: Any) -> Any:
        options.pop("device_ids", None)
        return barrier(*values, **options)

    return wait


def _plain_sum(method: Any) -> Any:
    def divide(module: FSDPModule, factor: float) -> None:
        module.set_force_sum_reduction_for_comms(True)
        method(module, factor)

    return divide
