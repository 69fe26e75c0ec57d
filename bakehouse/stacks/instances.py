"""stacks/instances.yml: what an instance type has, and how fast its collectives should be."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bakehouse import layout
from bakehouse.errors import InputError
from bakehouse.stacks import documents
from bakehouse.stacks.records import Architecture, Prose, Url
from bakehouse.stacks.validation import Model, suggestion, validate

Generation = Literal["volta", "turing", "ampere", "ada", "hopper", "blackwell"]
InstanceName = Annotated[str, Field(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")]


class BusBandwidth(Model):
    """A bus bandwidth that somebody measured, as nccl-tests defines it."""

    nodes: int = Field(ge=1)
    message_bytes: int = Field(ge=1)
    gb_per_s: float = Field(gt=0, description="GB/s, 10^9 bytes")
    collective: Literal["all_reduce", "all_gather", "reduce_scatter", "alltoall"] = "all_reduce"
    note: Prose | None = None
    source: Url


class Instance(Model):
    """An instance type."""

    architecture: Architecture = "x86_64"
    vcpus: int = Field(ge=1)
    memory_gib: float = Field(gt=0, description="of the whole machine")
    gpus: int = Field(ge=0)
    gpu: Prose | None = Field(default=None, description="product name")
    gpu_generation: Generation | None = None
    gpu_memory_gib: float | None = Field(default=None, gt=0, description="of one GPU")
    nvlinks_per_gpu: int = Field(default=0, ge=0)
    neuron_devices: int = Field(default=0, ge=0, description="AWS Trainium or Inferentia")
    neuron_cores: int = Field(default=0, ge=0, description="of all devices together; a rank each")
    efa_interfaces: int = Field(default=0, ge=0)
    network_gbps: float = Field(gt=0, description="Gbit/s, all interfaces together")
    expected_busbw: list[BusBandwidth] = Field(default_factory=list)
    note: Prose | None = None
    source: Url

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.gpus and (self.gpu is None or self.gpu_generation is None):
            raise ValueError("an instance with GPUs needs `gpu` and `gpu_generation`")
        if bool(self.neuron_devices) != bool(self.neuron_cores):
            raise ValueError("`neuron_devices` and `neuron_cores` belong together")
        return self


class Instances(Model):
    """The file stacks/instances.yml; the keys are the instance types."""

    instances: dict[InstanceName, Instance]


def load_instances(path: Path | None = None) -> dict[str, Instance]:
    """Read the instance types.

    Raises:
        InputError: The file is wrong; names file, line, key, reason and remedy.
    """
    document = documents.load(path or layout.STACKS / "instances.yml")
    return dict(validate(Instances, document.data, document, schema="instances.json").instances)


def get_instance(name: str) -> Instance:
    """One instance type by name.

    Raises:
        InputError: There is none; says which name was perhaps meant.
    """
    instances = load_instances()
    if name not in instances:
        raise InputError(
            f"there is no instance type {name}",
            where=str(layout.STACKS / "instances.yml"),
            remedy=suggestion(name, instances),
        )
    return instances[name]
