"""How a model lies on the ranks: FSDP2, over all of them or over some with replicas."""

import torch
from configuration import Configuration
from model import Decoder
from ranks import Ranks
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from training import digests
from training.records import WRONG_INPUT, Stop


def make_mesh(config: Configuration, ranks: Ranks) -> DeviceMesh:
    """Return the mesh: [ranks] for full, [replicas, shards] for hybrid sharding.

    Raises:
        Stop: The shards of hybrid sharding do not divide the ranks.
    """
    if config.sharding == "full":
        return init_device_mesh(ranks.device.type, (ranks.ranks,), mesh_dim_names=("shard",))
    shards = config.shard_ranks or ranks.local_ranks
    replicas, rest = divmod(ranks.ranks, shards)
    if rest:
        message = f"hybrid sharding over {shards} ranks (shard_ranks) does not divide {ranks.ranks}"
        raise Stop(WRONG_INPUT, message)
    names = ("replicate", "shard")
    return init_device_mesh(ranks.device.type, (replicas, shards), mesh_dim_names=names)


def make_model(config: Configuration, ranks: Ranks) -> Decoder:
    """Return the model, sharded and initialised; no rank has ever held the whole of it."""
    mesh = make_mesh(config, ranks)
    # Inputs are not cast: they are the angles' cosines, which bf16 is too coarse for.
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if config.precision == "bf16" else None,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,
    )
    with torch.device("meta"):
        model = Decoder(config.architecture)
    for block in model.blocks:
        block.optimise(recompute=config.recompute, compiled=config.compile)
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    model.to_empty(device=ranks.device)
    model.initialise(config.seed)
    return model


def make_optimizer(config: Configuration, model: Decoder) -> torch.optim.AdamW:
    """Return AdamW; matrices decay, the weights of norms do not."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
    ]
    first, second = config.betas
    return torch.optim.AdamW(groups, config.learning_rate, (first, second))


def digest(model: Decoder, ranks: Ranks) -> str:
    """Return a SHA-256 of all shards in the order of the ranks: comparable among equal numbers."""
    parts = (parameter.to_local() for parameter in model.parameters())
    return digests.of_shards(parts, ranks.control_group)
