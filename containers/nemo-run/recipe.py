"""python recipe.py --configuration configurations/llama3-70b.json --nodes 8 --gpus 8

Prints the recipe of NeMo 2 that a configuration makes, as the YAML that NeMo-Run would be given;
that needs nemo_toolkit but no GPU. `launch.py` trains it, in each process that a launcher started.
Not verified: NeMo 2 trains on GPUs alone, with Transformer Engine, and nobody has run it here;
elsewhere it says what is missing and ends with status 2.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recipe_configuration import Configuration, load
from training.configuration import refuse_broken
from training.records import WRONG_INPUT, Stop, run

RECIPES = "nemo.collections.llm.recipes"
NEEDED = {"nemo": "nemo_toolkit", "megatron": "Megatron-Core", "nemo_run": "NeMo-Run"}
ON_GPUS = {"transformer_engine": "Transformer Engine"}
ENDS = ("embedding", "loss")


def gpus_of_node() -> int:
    """Return how many GPUs torch sees here; none where there is no torch."""
    return int(import_module("torch").cuda.device_count()) if find_spec("torch") else 0


def demand_nemo(
    needed: Mapping[str, str] = NEEDED,
    gpus: int = 0,
    *,
    there: Callable[[str], bool] = lambda name: find_spec(name) is not None,
    version: Callable[[str], str] = metadata.version,
    gpus_here: Callable[[], int] = gpus_of_node,
) -> None:
    """Refuse to go on without NeMo 2.

    Args:
        needed: Modules, and what they are called.
        gpus: How many processes here take one each.
        there: Whether a module can be imported.
        version: Of a distribution.
        gpus_here: How many this machine has.

    Raises:
        Stop: Something is missing; says what, all of it.
    """
    missing = [told for name, told in needed.items() if not there(name)]
    if gpus and (here := gpus_here()) < gpus:
        missing.append(f"{gpus} GPUs of this node (it has {here})")
    if "nemo_toolkit" not in missing and not (found := version("nemo_toolkit")).startswith("2."):
        missing.append(f"nemo_toolkit 2 (here is {found})")
    if missing:
        told = f"a recipe of NeMo 2 lacks {', '.join(missing)}"
        raise Stop(WRONG_INPUT, f"{told}: start it on GPUs, in one of NVIDIA's images of NeMo 2")


def recipe_of(config: Configuration, path: Path, *, nodes: int, gpus: int, folder: Path) -> Any:
    """Return NeMo's recipe as a `nemo_run.Partial`, with all that the configuration says.

    Args:
        config: What to train.
        path: Where it comes from.
        nodes: How many.
        gpus: Of a node.
        folder: For checkpoints and NeMo's logs.

    Raises:
        Stop: NeMo has no such recipe or setting, or the model cannot be cut so.
    """
    config.replicas(nodes * gpus)
    try:
        named = import_module(f"{RECIPES}.{config.recipe}").pretrain_recipe
    except (ModuleNotFoundError, AttributeError) as error:
        raise Stop(WRONG_INPUT, f"{path}: NeMo has no recipe {config.recipe}: {error}") from error
    recipe = named(dir=str(folder), name="recipe", num_nodes=nodes, num_gpus_per_node=gpus)
    _set_shape(recipe.model.config, config, path)
    _set_splits(recipe, config, path)
    _set_work(recipe, config)
    return recipe


def _set_shape(model: Any, config: Configuration, path: Path) -> None:
    for name, value in config.shape.items():
        try:
            setattr(model, name, value)
        except AttributeError as error:
            told = str(error).partition(";")[0]
            raise Stop(WRONG_INPUT, f"{path}: shape: {told}") from error
    model.seq_length = config.length
    model.vocab_size = config.vocabulary
    heads, groups = model.num_attention_heads, model.num_query_groups
    tensor = config.tensor_parallel
    rules = {
        f"tensor_parallel {tensor} does not divide {heads} heads": heads % tensor,
        f"tensor_parallel {tensor} does not divide {groups} groups of heads": groups % tensor,
        f"tensor_parallel {tensor} does not divide vocabulary": config.vocabulary % tensor,
    }
    refuse_broken(rules, path)


def _set_splits(recipe: Any, config: Configuration, path: Path) -> None:
    strategy = recipe.trainer.strategy
    # MegatronStrategy takes any name, so a wrong one here would go unnoticed: tests compare.
    strategy.tensor_model_parallel_size = config.tensor_parallel
    strategy.pipeline_model_parallel_size = config.pipeline_parallel
    strategy.virtual_pipeline_model_parallel_size = config.virtual_pipeline
    strategy.context_parallel_size = config.context_parallel
    strategy.expert_model_parallel_size = config.expert_parallel
    strategy.sequence_parallel = config.sequence_parallel
    bf16 = import_module("torch").bfloat16
    strategy.pipeline_dtype = bf16 if config.pipeline_parallel > 1 else None
    # Some recipes count the embedding and the loss as a layer each.
    counted = [getattr(strategy, f"account_for_{what}_in_pipeline_split", False) for what in ENDS]
    layers = recipe.model.config.num_layers + sum(map(bool, counted))
    pieces = config.pipeline_parallel * (config.virtual_pipeline or 1)
    rule = f"{pieces} pieces of the pipeline do not divide {layers} layers"
    refuse_broken({rule: layers % pieces}, path)


def _set_work(recipe: Any, config: Configuration) -> None:
    import nemo_run  # noqa: PLC0415  # is there only beside NeMo

    precision = import_module(f"{RECIPES}.precision.mixed_precision")
    tokenizers = import_module("nemo.collections.common.tokenizers.bytelevel_tokenizers")
    records = import_module("recipe_records").Records
    recipe.data.seq_length = config.length
    recipe.data.global_batch_size = config.global_batch_size
    recipe.data.micro_batch_size = config.micro_batch_size
    # NeMo's own choice would be fetched from a hub; the tokens are generated in any case.
    recipe.data.tokenizer = nemo_run.Config(tokenizers.ByteLevelTokenizer)
    trainer = recipe.trainer
    trainer.plugins = getattr(precision, config.precision)()
    trainer.max_steps = config.steps
    trainer.log_every_n_steps = config.log_every
    trainer.val_check_interval = config.checkpoint_every
    trainer.limit_val_batches = 1
    tokens = config.global_batch_size * config.length
    every = config.log_every
    trainer.callbacks.append(nemo_run.Config(records, tokens=tokens, log_every=every))
    recipe.optim.config.lr = config.learning_rate
    recipe.optim.lr_scheduler.warmup_steps = config.warmup_steps
    recipe.optim.lr_scheduler.min_lr = config.learning_rate / 10
    recipe.log.tensorboard = None
    recipe.log.ckpt.train_time_interval = None  # excludes the next
    recipe.log.ckpt.every_n_train_steps = config.checkpoint_every
    recipe.log.ckpt.save_top_k = config.keep_checkpoints


def train(path: Path, folder: Path) -> None:
    """Train as one of the processes that a launcher has started, through NeMo-Run.

    Raises:
        Stop: It cannot be; with the exit status and the reason.
    """
    config = load(path)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    config.replicas(world)
    demand_nemo({**NEEDED, **ON_GPUS}, local)
    recipe = recipe_of(config, path, nodes=world // local, gpus=local, folder=folder)
    # What Lightning takes for the sign that ranks are started already, and their node.
    node = str(int(os.environ.get("RANK", "0")) // local)
    os.environ.update(TORCHELASTIC_RUN_ID="nemo-run", GROUP_RANK=node)
    import_module("nemo_run").run(recipe, direct=True)


def main() -> None:
    """Print a recipe.

    Raises:
        Stop: It cannot be made.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--configuration", type=Path, required=True)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--gpus", type=int, default=8, help="of a node")
    parser.add_argument("--checkpoints", type=Path, default=Path("checkpoints"))
    options = parser.parse_args()
    path = options.configuration
    config = load(path)
    demand_nemo()
    recipe = recipe_of(
        config, path, nodes=options.nodes, gpus=options.gpus, folder=options.checkpoints
    )
    serializer = import_module("nemo_run.core.serialization.yaml").YamlSerializer()
    sys.stdout.write(serializer.serialize(recipe))


if __name__ == "__main__":
    run(main)
