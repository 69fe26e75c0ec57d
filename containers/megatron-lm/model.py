"""The model, in Megatron's modules, its first weights and its optimizer."""

import math
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import torch
from configuration import Configuration
from megatron.core import parallel_state
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import (
    get_gpt_layer_local_spec,
    get_gpt_layer_with_transformer_engine_spec,
)
from megatron.core.optimizer import MegatronOptimizer, OptimizerConfig, get_megatron_optimizer
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler
from megatron.core.transformer import ModuleSpec, TransformerConfig
from megatron.core.transformer.module import Float16Module
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
from torch import nn

SCALED_DOWN = ("linear_proj.weight", "linear_fc2.weight")
"""Matrices whose output is added to the residual stream; they start smaller the more layers."""


def transformer_config(config: Configuration) -> TransformerConfig:
    """Translate a configuration into Megatron's."""
    shape, half = config.architecture, config.precision == "bf16"
    dtype = torch.bfloat16 if half else torch.float32
    recompute: dict[str, Any] = {}
    if config.recompute != "none":
        recompute["recompute_granularity"] = config.recompute
    if config.recompute == "full":
        recompute |= {"recompute_method": "uniform", "recompute_num_layers": 1}
    return TransformerConfig(
        num_layers=shape.layers,
        hidden_size=shape.hidden,
        num_attention_heads=shape.heads,
        num_query_groups=shape.groups,
        ffn_hidden_size=shape.ffn,
        normalization="RMSNorm" if shape.llama else "LayerNorm",
        gated_linear_unit=shape.llama,
        activation_func=nn.functional.silu if shape.llama else nn.functional.gelu,
        add_bias_linear=not shape.llama,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        layernorm_epsilon=1e-5,
        init_method_std=config.initial_deviation,
        tensor_model_parallel_size=config.tensor,
        pipeline_model_parallel_size=config.pipeline,
        context_parallel_size=config.context,
        sequence_parallel=config.sequence_parallel,
        bf16=half,
        params_dtype=dtype,
        pipeline_dtype=dtype,
        # Fused kernels that need apex or Transformer Engine.
        gradient_accumulation_fusion=False,
        masked_softmax_fusion=False,
        persist_layer_norm=False,
        bias_dropout_fusion=False,
        **recompute,
    )


def layers(config: Configuration) -> ModuleSpec | TransformerBlockSubmodules:
    """Say what the layers of a pipeline stage are made of."""
    if config.layers_from == "transformer_engine":
        return get_gpt_layer_with_transformer_engine_spec()
    layer = get_gpt_layer_local_spec()
    layer.submodules.input_layernorm = layer.submodules.pre_mlp_layernorm = SharedNorm
    count = config.architecture.layers // config.pipeline
    return TransformerBlockSubmodules(layer_specs=[layer] * count, layer_norm=SharedNorm)


class SharedNorm:
    """torch's norm, fit for sequence parallelism.

    Megatron's own wrapper of it refuses that (transformer/torch_norm.py:32): its kernels are in
    apex and Transformer Engine. Each rank norms its part of the sequence, so that the gradients of
    the norm's weights have to be added up, which Megatron does for weights that are marked.
    """

    def __new__(cls, config: TransformerConfig, hidden_size: int, eps: float = 1e-5) -> nn.Module:
        """Return the norm that the configuration names."""
        kind = nn.RMSNorm if config.normalization == "RMSNorm" else nn.LayerNorm
        norm = kind(hidden_size, eps=eps, dtype=config.params_dtype)
        for weight in norm.parameters():
            weight.sequence_parallel = config.sequence_parallel
        return norm


def make_model(config: Configuration, device: torch.device) -> DistributedDataParallel:
    """Return this rank's part of the model, which adds up gradients over the copies."""
    shape, megatron = config.architecture, transformer_config(config)
    model = GPTModel(
        config=megatron,
        transformer_layer_spec=layers(config),
        vocab_size=shape.vocabulary,
        max_sequence_length=config.sequence_length,
        pre_process=parallel_state.is_pipeline_first_stage(),
        post_process=parallel_state.is_pipeline_last_stage(),
        share_embeddings_and_output_weights=shape.tied_embeddings,
        position_embedding_type="rope" if shape.positions == "rope" else "learned_absolute",
        rotary_base=int(shape.rope_theta),
    ).to(device)
    if config.first_weights == "by_name":
        draw_by_name(model, config)
    wrapped: nn.Module = Float16Module(megatron, model) if config.precision == "bf16" else model
    return DistributedDataParallel(
        config=megatron,
        ddp_config=DistributedDataParallelConfig(
            grad_reduce_in_fp32=True,
            use_distributed_optimizer=config.distributed_optimizer,
            overlap_grad_reduce=device.type == "cuda",
        ),
        module=wrapped,
    )


@torch.no_grad()
def draw_by_name(model: nn.Module, config: Configuration) -> None:
    """Draw each matrix anew from the seed, its name and its layer.

    Megatron draws them in the order in which a rank makes them, so that with another split it is
    another model. Each rank draws whole matrices one after the other and keeps its part.
    """
    smaller = config.initial_deviation / math.sqrt(2 * config.architecture.layers)
    for part in _sharded(model.sharded_state_dict()):
        layers, whole = part.prepend_axis_num, part.global_shape[part.prepend_axis_num :]
        if part.data is None or len(whole) < 2:
            continue  # norms and biases start at one and zero
        name = f"{config.seed} {part.key} {part.global_offset[:layers]}"
        seed = int.from_bytes(sha256(name.encode()).digest()[:7], "big")
        deviation = smaller if part.key.endswith(SCALED_DOWN) else config.initial_deviation
        values = torch.randn(whole, generator=torch.Generator().manual_seed(seed)) * deviation
        offset = part.global_offset[layers:]
        here = tuple(
            slice(o, o + n) for o, n in zip(offset, part.data.shape[-len(whole) :], strict=True)
        )
        part.data.copy_(values[here])


def _sharded(state: Any) -> Iterator[ShardedTensor]:
    if isinstance(state, ShardedTensorFactory):
        yield from _sharded(state.build())
    elif isinstance(state, ShardedTensor):
        yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from _sharded(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from _sharded(value)


def make_optimizer(
    config: Configuration, model: DistributedDataParallel
) -> tuple[MegatronOptimizer, OptimizerParamScheduler]:
    """Return Megatron's Adam, and what sets its learning rate: a straight rise, then a cosine."""
    optimizer = get_megatron_optimizer(
        OptimizerConfig(
            optimizer="adam",
            lr=config.learning_rate,
            min_lr=config.final_learning_rate,
            weight_decay=config.weight_decay,
            adam_beta1=config.betas[0],
            adam_beta2=config.betas[1],
            clip_grad=config.gradient_clip,
            bf16=config.precision == "bf16",
            params_dtype=torch.bfloat16 if config.precision == "bf16" else torch.float32,
            use_distributed_optimizer=config.distributed_optimizer,
        ),
        [model],
        use_gloo_process_groups=False,
    )
    schedule = OptimizerParamScheduler(
        optimizer,
        init_lr=0.0,
        max_lr=config.learning_rate,
        min_lr=config.final_learning_rate,
        lr_warmup_steps=config.warmup_steps,
        lr_decay_steps=config.steps,
        lr_decay_style="cosine",
        start_wd=config.weight_decay,
        end_wd=config.weight_decay,
        wd_incr_steps=0,
        wd_incr_style="constant",
    )
    return optimizer, schedule
