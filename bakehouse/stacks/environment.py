"""stacks/environment.yml: environment variables on EC2, each with when, what, why, and why not."""

from pathlib import Path
from typing import Annotated, Literal, Self

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import Field, model_validator

from bakehouse import layout
from bakehouse.stacks import documents
from bakehouse.stacks.instances import Generation
from bakehouse.stacks.records import Component, Prose, Url
from bakehouse.stacks.validation import Model, validate

Scheduler = Literal["docker", "slurm", "kubernetes", "batch"]
"""As `launchers` in case.yml; this package does not look into that one."""

Some = Annotated[list[str], Field(min_length=1)]
VariableName = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9_]*$")]


class When(Model):
    """All that is given must hold.

    Attributes:
        efa: The job crosses machines, and these have EFA interfaces.
        families: Instance types by what stands before the dot, such as p5.
        cases: Test cases.
        versions: PEP 440 specifiers by component; of what the stack lacks none holds.
    """

    efa: bool | None = None
    gpus: bool | None = None
    neuron: bool | None = None
    families: Some | None = None
    gpu_generations: Annotated[list[Generation], Field(min_length=1)] | None = None
    schedulers: Annotated[list[Scheduler], Field(min_length=1)] | None = None
    cases: Some | None = None
    versions: dict[Component, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _evaluable(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("say when: a value that is always set would need no rule")
        for component, text in self.versions.items():
            try:
                SpecifierSet(text)
            except InvalidSpecifier as error:
                raise ValueError(
                    f'{component}: {text!r} is not a version specifier such as ">=1.2,<2"'
                ) from error
        return self


class Value(Model):
    """One value of a variable. It is literal: nothing expands a `$` in it."""

    value: Annotated[str, Field(pattern=r"^[^$\s]+$")]
    when: When
    reason: Prose


class Variable(Model):
    """When a variable is set, and why it is left out where none of its values applies."""

    values: list[Value] = Field(default_factory=list)
    left_out: Prose
    source: Url


class Environment(Model):
    """The file stacks/environment.yml."""

    variables: Annotated[dict[VariableName, Variable], Field(min_length=1)]


def load_environment(path: Path | None = None) -> dict[str, Variable]:
    """Read the variables.

    Raises:
        InputError: The file is wrong; names file, line, key, reason and remedy.
    """
    document = documents.load(path or layout.STACKS / "environment.yml")
    return dict(validate(Environment, document.data, document, schema="environment.json").variables)
