"""What Picotron at its pinned commit needs to run here, put in place before it is imported.

None of its files is changed. Each patch says which line of Picotron wants it.
"""

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
import transformers
from torch.overrides import TorchFunctionMode
from training.records import WRONG_INPUT, Stop

STAND_INS = {
    "flash_attn": {
        "flash_attn.flash_attn_interface": "flash_attn_func",
        "flash_attn.layers.rotary": "apply_rotary_emb",
        "flash_attn.ops.triton.layer_norm": "layer_norm_fn",
    },
    "wandb": {"wandb": "init"},
}
"""Packages that Picotron imports whether it uses them or not, and what it takes from them."""


def install(*, cpu: bool, used: set[str]) -> list[str]:
    """Put the patches in place; return what they are called, for the record of the start.

    Args:
        cpu: The training is on CPUs.
        used: Those of `STAND_INS` that the configuration really uses.

    Raises:
        Stop: The configuration uses a package that is not there.
    """
    done = []
    for package, parts in STAND_INS.items():
        if importlib.util.find_spec(package) is not None:
            continue
        if package in used:
            message = f"the configuration uses {package}, which is not in this image"
            raise Stop(WRONG_INPUT, message)
        _stand_in(package, parts)
        done.append(f"no {package}")
    done += _as_transformers_4()
    if cpu:
        _on_cpu()
        done.append("no CUDA")
    return done


def _stand_in(package: str, parts: dict[str, str]) -> None:
    """model.py and train.py import these at the top; nothing may call them."""

    def absent(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"{package} is not in this image")

    for name in (package, *parts):
        pieces = name.split(".")
        for depth in range(1, len(pieces) + 1):
            module = ".".join(pieces[:depth])
            sys.modules.setdefault(module, ModuleType(module))
        if name in parts:
            setattr(sys.modules[name], parts[name], absent)


def _as_transformers_4() -> list[str]:
    """data.py calls batch_encode_plus, model.py reads config.rope_theta: gone in transformers 5."""
    tokenizer, reader = transformers.PreTrainedTokenizerBase, transformers.AutoConfig
    if hasattr(tokenizer, "batch_encode_plus"):
        return []
    tokenizer.batch_encode_plus = tokenizer.__call__
    read = reader.from_pretrained

    def with_theta(*arguments: Any, **options: Any) -> Any:
        config = read(*arguments, **options)
        config.rope_theta = config.rope_parameters["rope_theta"]
        return config

    reader.from_pretrained = with_theta
    return ["transformers 5"]


class _NoCuda(TorchFunctionMode):
    """Makes tensors on the CPU that are asked for on a GPU."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """As its base class."""
        options = dict(kwargs or {})
        if options.get("device") == "cuda":
            options["device"] = "cpu"
        return function(*args, **options)


def _on_cpu() -> None:
    """utils.py puts a count of parameters on a GPU, pp_communications.py waits for one."""
    from picotron import utils  # noqa: PLC0415  # only once what it imports has a stand-in

    torch.cuda.synchronize = _nothing
    count = utils.get_num_params

    def counted(model: torch.nn.Module) -> int:
        with _NoCuda():
            return int(count(model))

    utils.get_num_params = counted


def _nothing(*_: Any) -> None:
    pass
