"""A decoder in plain JAX: what its weights are, which device holds what, and the loss."""

from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from configuration import Configuration
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

DATA, TENSOR = "data", "tensor"
Weights = dict[str, jax.Array]

CUT = {
    "embedding": P(TENSOR, None),
    "attention_norm": P(),
    "query_key_value": P(None, None, None, TENSOR, None),
    "attention_out": P(None, TENSOR, None, None),
    "feed_forward_norm": P(),
    "up": P(None, None, TENSOR),
    "down": P(None, TENSOR, None),
    "norm": P(),
    "head": P(None, TENSOR),
}
"""How each weight lies on the mesh: heads and hidden units are dealt out along `tensor`, so that a
layer adds up twice (after the heads, after the hidden units); along `data` there are copies."""


def shapes(config: Configuration) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight; the first axis of a layer's is the number of layers."""
    layers, width, heads = config.layers, config.width, config.heads
    return {
        "embedding": (config.vocabulary, width),
        "attention_norm": (layers, width),
        "query_key_value": (layers, width, 3, heads, width // heads),
        "attention_out": (layers, heads, width // heads, width),
        "feed_forward_norm": (layers, width),
        "up": (layers, width, config.hidden),
        "down": (layers, config.hidden, width),
        "norm": (width,),
        "head": (width, config.vocabulary),
    }


def first_weights(config: Configuration) -> Weights:
    """Return the weights of step 0, float32: those of the seed, whatever the mesh is."""
    keys = jax.random.split(jax.random.key(config.seed), len(CUT))
    weights = {}
    for key, (name, shape) in zip(keys, shapes(config).items(), strict=True):
        if name.endswith("norm"):
            weights[name] = jnp.ones(shape)
            continue
        adds_to_stream = name in ("attention_out", "down")
        scale = 0.02 / (2 * config.layers) ** 0.5 if adds_to_stream else 0.02
        weights[name] = scale * jax.random.normal(key, shape)
    return weights


def shardings(mesh: Mesh) -> dict[str, NamedSharding]:
    """Return where each weight lies."""
    return {name: NamedSharding(mesh, cut) for name, cut in CUT.items()}


def flops_per_token(config: Configuration) -> float:
    """Return FLOPs of a forward and backward pass per token: six for each weight that it is
    multiplied with, and twelve for each layer, token attended to and hidden unit (PaLM's)."""
    sizes = {name: prod(shape) for name, shape in shapes(config).items()}
    multiplied = sum(sizes.values()) - sizes["embedding"]
    return 6 * multiplied + 12 * config.layers * config.length * config.width


def losses(weights: Weights, inputs: jax.Array, targets: jax.Array, config: Configuration) -> Any:
    """Return the loss of each token in nats: float32 [batch, length].

    Args:
        weights: As `first_weights`.
        inputs: int32 [batch, length].
        targets: int32 [batch, length]: the token that follows.
        config: What the weights are of.
    """
    kind = jnp.dtype(config.compute)
    layer = jax.checkpoint(_layer) if config.recompute else _layer
    own = {name: w.astype(kind) for name, w in weights.items() if len(CUT[name]) != 0}
    own |= {name: weights[name] for name in ("attention_norm", "feed_forward_norm")}
    stream = own["embedding"][inputs]
    for number in range(config.layers):
        names = ("query_key_value", "attention_out", "up", "down")
        names += ("attention_norm", "feed_forward_norm")
        stream = layer({name: own[name][number] for name in names}, stream)
    logits = (_normed(stream, weights["norm"]) @ own["head"]).astype(jnp.float32)
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen


def _layer(weights: Weights, stream: jax.Array) -> jax.Array:
    states = _normed(stream, weights["attention_norm"])
    parts = jnp.einsum("btw,wkhd->kbthd", states, weights["query_key_value"])
    query, key, value = _rotated(parts[0]), _rotated(parts[1]), parts[2]
    mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    stream = stream + jnp.einsum("bthd,hdw->btw", mixed, weights["attention_out"])
    states = _normed(stream, weights["feed_forward_norm"])
    return stream + jax.nn.gelu(states @ weights["up"]) @ weights["down"]


def _normed(stream: jax.Array, scale: jax.Array) -> jax.Array:
    """Root mean square of one, times a scale, computed in float32."""
    exact = stream.astype(jnp.float32)
    size = jax.lax.rsqrt(jnp.mean(exact**2, axis=-1, keepdims=True) + 1e-6)
    return (exact * size * scale).astype(stream.dtype)


def _rotated(heads: jax.Array) -> jax.Array:
    """Rotary positions (RoFormer) of [batch, length, heads, width of a head]."""
    half = heads.shape[-1] // 2
    frequencies = 10_000.0 ** (-jnp.arange(half) / half)
    angles = jnp.arange(heads.shape[1])[:, None, None] * frequencies
    cosine, sine = jnp.cos(angles), jnp.sin(angles)
    first, second = jnp.split(heads.astype(jnp.float32), 2, axis=-1)
    turned = (first * cosine - second * sine, second * cosine + first * sine)
    return jnp.concatenate(turned, axis=-1).astype(heads.dtype)
