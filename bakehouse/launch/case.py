"""case.yml: the one description of a test case."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bakehouse import layout
from bakehouse.errors import InputError
from bakehouse.stacks import documents
from bakehouse.stacks.validation import Model, suggestion, validate

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Device = Literal["cpu", "gpu", "neuron"]
Launcher = Literal["docker", "slurm", "kubernetes", "batch"]
Text = Annotated[str, Field(min_length=1)]
RelativePath = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][\w.-]*)*$")
]


class Parallelism(Model):
    """How the work is split, and what carries the messages."""

    strategy: Text
    backend: Literal["gloo", "nccl", "neuron"]


class Splits(Model):
    """How a model is cut over processes; what is left of the world size is data parallelism."""

    tensor: int = Field(default=1, ge=1)
    pipeline: int = Field(default=1, ge=1)
    context: int = Field(default=1, ge=1)
    expert: int = Field(default=1, ge=1)

    @property
    def processes(self) -> int:
        """Processes that hold one whole copy of the model; expert parallelism shares with data."""
        return self.tensor * self.pipeline * self.context


class Expected(Model):
    """A figure that somebody reported, and where."""

    figure: Text
    on: Text
    source: Text


class Configuration(Model):
    """One file of hyperparameters, in the folder of the case.

    Attributes:
        device: The least hardware that it trains on.
        splits: The world size must be a multiple of their product.
        nodes: How many nodes it is meant for; the case's own resources otherwise.
        instance: The EC2 instance type that it is meant for.
        accuracy: As in the case's checks, where it is not the default configuration.
        loss: Likewise.
    """

    path: RelativePath
    about: Text
    device: Device = "cpu"
    splits: Splits = Splits()
    nodes: int | None = Field(default=None, ge=1)
    instance: Text | None = None
    accuracy: float | None = Field(default=None, gt=0, le=1)
    loss: float | None = Field(default=None, gt=0)
    expected: list[Expected] = Field(default_factory=list)


class Dataset(Model):
    """What is trained on. `real` is false for generated data."""

    name: Text
    real: bool
    samples: int = Field(ge=1)
    held_out: int = Field(ge=1)
    source: Text
    licence: Text


class Resources(Model):
    """What a run takes if the user does not say otherwise."""

    nodes: int = Field(ge=1)
    processes_per_node: int = Field(ge=1)
    threads_per_process: int = Field(ge=1)
    memory_gib_per_process: float = Field(gt=0)


class Checks(Model):
    """What a run of the default configuration is expected to reach.

    Attributes:
        accuracy: Least share of held-out samples that are classified rightly.
        loss: Greatest mean loss on the held-out samples, in nats.
        world_size: Processes, with the case's own resources.
        resume: bit-identical: a resumed run repeats the very losses of an unbroken one; a number is
            the greatest relative difference. None for a case that does not resume.
    """

    accuracy: float | None = Field(default=None, gt=0, le=1)
    loss: float | None = Field(default=None, gt=0)
    world_size: int = Field(ge=1)
    resume: Literal["bit-identical"] | Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        if (self.accuracy is None) == (self.loss is None):
            raise ValueError("give either accuracy or loss: what a run must reach")
        return self


class Status(Model):
    """What was seen of a case on the reference machine, which has no accelerator.

    Attributes:
        how: native: its framework trains unmodified; patched: with the named changes; shim: calls
            to an accelerator are led to the CPU; imports: it is imported and configured, and does
            not train; unverified: nothing of it ran.
        about: One sentence.
    """

    how: Literal["native", "patched", "shim", "imports", "unverified"]
    about: Text


class Case(Model):
    """One test case.

    Attributes:
        start: torchrun, or `ranks`: a Python process for each rank, by the shared `training.start`.
        shared: Folders of containers/shared that are copied beside the entry point.
    """

    name: Name
    title: Text
    base: Text
    stack: Text
    entry_point: RelativePath
    start: Literal["torchrun", "ranks"] = "torchrun"
    shared: list[Name] = Field(default_factory=list)
    parallelism: Parallelism
    default_configuration: Name
    configurations: dict[Name, Configuration] = Field(min_length=1)
    dataset: Dataset
    launchers: list[Launcher] = Field(min_length=1)
    status: Status
    resources: Resources
    checks: Checks

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.default_configuration not in self.configurations:
            raise ValueError(
                f"default_configuration {self.default_configuration} is not in configurations"
            )
        processes = self.resources.nodes * self.resources.processes_per_node
        if self.checks.world_size != processes:
            raise ValueError(
                f"checks.world_size is {self.checks.world_size}, but resources make {processes} "
                f"processes ({self.resources.nodes} nodes x {self.resources.processes_per_node})"
            )
        if processes % (whole := self.configuration(None).splits.processes):
            raise ValueError(
                f"resources make {processes} processes, but a copy of the model in "
                f"{self.default_configuration} takes {whole}"
            )
        return self

    def promised(self, name: str) -> dict[str, Any]:
        """What a run of a configuration is expected to reach: the keys of `Checks`.

        Raises:
            InputError: The case has no such configuration.
        """
        promises = self.checks.model_dump()
        if name != self.default_configuration:
            one = self.configuration(name)
            promises |= {"accuracy": one.accuracy, "loss": one.loss}
        return {what: value for what, value in promises.items() if value is not None}

    def configuration(self, name: str | None) -> Configuration:
        """A configuration by name; the default one for None.

        Raises:
            InputError: The case has no such configuration.
        """
        chosen = name or self.default_configuration
        if chosen not in self.configurations:
            raise InputError(
                f"the test case {self.name} has no configuration {chosen}",
                where="--model",
                remedy=suggestion(chosen, self.configurations),
            )
        return self.configurations[chosen]


def case_names() -> list[str]:
    """Names of all test cases: the folders of containers/ with a case.yml."""
    return sorted(path.parent.name for path in layout.CONTAINERS.glob("*/case.yml"))


def load_case(name: str) -> Case:
    """Read and validate containers/<name>/case.yml.

    Raises:
        InputError: There is no such case, or its file is wrong; names file, line, key and remedy.
    """
    names = case_names()
    if name not in names:
        raise InputError(f"there is no test case {name}", remedy=suggestion(name, names))
    return parse(documents.load(layout.CONTAINERS / name / "case.yml"))


def parse(document: documents.Document) -> Case:
    """Validate a case's document, and that the files that it names are there.

    Raises:
        InputError: At the first thing that is wrong.
    """
    case = validate(Case, document.data, document, schema="case.json")
    folder = document.path.parent
    if case.name != folder.name:
        raise InputError(
            f"the name is {case.name}, but the folder is {folder.name}",
            where=document.where(("name",)),
            remedy=f"write name: {folder.name}",
        )
    _demand_file(document, folder, ("entry_point",), case.entry_point)
    for key, configuration in case.configurations.items():
        _demand_file(document, folder, ("configurations", key, "path"), configuration.path)
    for number, name in enumerate(case.shared):
        _demand_file(document, layout.SHARED, ("shared", number), f"{name}/__init__.py")
    return case


def _demand_file(
    document: documents.Document, folder: Path, keys: tuple[str | int, ...], path: str
) -> None:
    if not (folder / path).is_file():
        raise InputError(
            f"there is no file {path} in {folder}",
            where=document.where(keys),
            remedy="correct the path, or add the file",
        )
