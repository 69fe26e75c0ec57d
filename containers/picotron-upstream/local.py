"""A model, a tokenizer and a data set as Picotron wants them from a hub, made here without one."""

import json
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from training.corpus import HELD_OUT, corpus
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WEIGHTS = "hf_model_safetensors"
"""Where Picotron looks for weights, of which it takes the shapes alone."""


@dataclass(frozen=True, kw_only=True)
class Local:
    """The shape of a model of the Llama family over bytes, and what it is trained on.

    Attributes:
        hidden_size: Of the residual stream.
        intermediate_size: Of the feed-forward layers.
        num_hidden_layers: Layers.
        num_attention_heads: Heads of queries.
        num_key_value_heads: Heads of keys and values.
        data: A text file, or a folder of them; None for Python's help pages.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    data: str | None


def write(local: Local, length: int, folder: Path) -> tuple[str, str]:
    """Write them into a folder; return the names of the model and of the data set.

    Args:
        local: What to make.
        length: Tokens of a sequence.
        folder: Where Picotron will be started.

    Raises:
        Stop: There is no such text.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    _write_texts(local, length, folder / "data")
    tokenizer = Tokenizer(models.BPE({one: place for place, one in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    model = folder / "model"
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(model)
    config = LlamaConfig(
        vocab_size=len(alphabet),
        hidden_size=local.hidden_size,
        intermediate_size=local.intermediate_size,
        num_hidden_layers=local.num_hidden_layers,
        num_attention_heads=local.num_attention_heads,
        num_key_value_heads=local.num_key_value_heads,
    )
    config.save_pretrained(model)
    LlamaForCausalLM(config).save_pretrained(folder / WEIGHTS)
    return str(model), str(folder / "data")


def _write_texts(local: Local, length: int, folder: Path) -> None:
    """The end of the text is never trained on, as in `training.text.Windows`."""
    text = corpus(Path(local.data) if local.data else None).decode(errors="replace")
    windows = (len(text) - 1) // length
    edge = (windows - max(1, windows // HELD_OUT)) * length
    folder.mkdir()
    for name, part in (("train", text[: edge + 1]), ("validation", text[edge:])):
        line = json.dumps({"text": part})
        (folder / f"{name}.jsonl").write_text(f"{line}\n", encoding="utf-8")
