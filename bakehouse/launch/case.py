"""case.yml: the one description of a test case."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bakehouse import layout
from bakehouse.errors import InputError
from bakehouse.stacks import documents
from bakehouse.stacks.stack import suggestion

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Text = Annotated[str, Field(min_length=1)]
RelativePath = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][\w.-]*)*$")
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Parallelism(_Model):
    """How the work is split, and what carries the messages."""

    strategy: Text
    backend: Literal["gloo", "nccl"]


class Configuration(_Model):
    """One file of hyperparameters, in the folder of the case."""

    path: RelativePath
    about: Text


class Dataset(_Model):
    """What is trained on. `real` is false for generated data."""

    name: Text
    real: bool
    samples: int = Field(ge=1)
    held_out: int = Field(ge=1)
    source: Text
    licence: Text


class Resources(_Model):
    """What a run takes if the user does not say otherwise."""

    nodes: int = Field(ge=1)
    processes_per_node: int = Field(ge=1)
    threads_per_process: int = Field(ge=1)
    memory_gib_per_process: float = Field(gt=0)


class Checks(_Model):
    """What a run is expected to reach.

    Attributes:
        accuracy: Least share of held-out samples that are classified rightly.
        world_size: Processes, with the case's own resources.
        resume: bit-identical: a resumed run ends in the very parameters of an unbroken one.
    """

    accuracy: float = Field(gt=0, le=1)
    world_size: int = Field(ge=1)
    resume: Literal["bit-identical"]


class Case(_Model):
    """One test case."""

    name: Name
    title: Text
    base: Text
    stack: Text
    entry_point: RelativePath
    parallelism: Parallelism
    default_configuration: Name
    configurations: dict[Name, Configuration] = Field(min_length=1)
    dataset: Dataset
    launchers: list[Literal["docker"]] = Field(min_length=1)
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
        return self

    def configuration(self, name: str | None) -> Configuration:
        """A configuration by name; the default one for None.

        Raises:
            InputError: The case has no such configuration.
        """
        chosen = name or self.default_configuration
        if chosen not in self.configurations:
            raise InputError(
                f"the test case {self.name} has no configuration {chosen}",
                where="--configuration",
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
    try:
        case = Case.model_validate(document.data)
    except ValidationError as error:
        raise _explained(document, error) from error
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
    return case


def _demand_file(
    document: documents.Document, folder: Path, keys: tuple[str, ...], path: str
) -> None:
    if not (folder / path).is_file():
        raise InputError(
            f"there is no file {path} in {folder}",
            where=document.where(keys),
            remedy="correct the path, or add the file",
        )


def _explained(document: documents.Document, error: ValidationError) -> InputError:
    # A mistyped key is both missing and unknown: the unknown one is what the user looks for.
    mistakes = error.errors()
    first = next((one for one in mistakes if one["type"] == "extra_forbidden"), mistakes[0])
    keys = [part for part in first["loc"] if part != "[key]"]
    reason = first["msg"].removeprefix("Value error, ")
    remedy = "containers/cpu-ddp/case.yml is a complete example"
    if first["type"] == "extra_forbidden":
        model = _model_at(keys[:-1])
        reason = f"unknown key {keys[-1]}"
        remedy = suggestion(str(keys[-1]), model.model_fields)
    elif first["type"] == "missing":
        reason = f"{keys[-1]} is missing"
        remedy = "add it"
    return InputError(reason, where=document.where(keys), remedy=remedy)


def _model_at(keys: list[str | int]) -> type[_Model]:
    sections: dict[str, type[_Model]] = {
        "parallelism": Parallelism,
        "configurations": Configuration,
        "dataset": Dataset,
        "resources": Resources,
        "checks": Checks,
    }
    return sections.get(str(keys[0]), Case) if keys else Case
