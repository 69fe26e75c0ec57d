"""What a build was asked for, and what it says it did."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bakehouse.builder.supply import Supply
    from bakehouse.machines.chain import Chain


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to build: `plan_only` runs nothing; `no_cache` runs every layer of the named image.

    Whatever is fetched comes from `supply`, if there is one. Machine images start from the private
    images of `chain`, if there is one.
    """

    stack: str | None = None
    plan_only: bool = False
    no_cache: bool = False
    allow_broken_stack: bool = False
    supply: "Supply | None" = None
    chain: "Chain | None" = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """An Ansible task and its seconds."""

    name: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer as it was planned or built.

    Attributes:
        name: Role, test case, or distribution.
        kind: "role", "case" or "rootfs".
        key: Hex digest of all that decides its content.
        cached: It did not run.
        why: Why it had to run.
        seconds: Time that it took in this build.
        built_seconds: Time that it took when it last ran; 0 where that is not known.
        bytes: Size of what it adds.
        tasks: The tasks that ran, where the layer is a role.
    """

    name: str
    kind: str
    key: str
    cached: bool
    why: str = ""
    seconds: float = 0.0
    built_seconds: float = 0.0
    bytes: int = 0
    tasks: list[Task] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """A planned or finished build.

    Attributes:
        image: Name of the image.
        build: Name of the build, the head of `key`; the image's second tag.
        key: Hex digest of all that decides the image; empty if that is not known yet.
        image_id: Docker's; empty if there is none yet.
        seconds: Wall time, the images below left out.
        layers: The lowest first; those of the images below left out.
        other: Seconds of this build that belong to no layer.
        started: ISO 8601.
    """

    image: str
    build: str
    key: str
    image_id: str
    seconds: float
    layers: list[Layer]
    other: dict[str, float] = field(default_factory=dict)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def unchanged(self) -> bool:
        """Nothing ran or would run."""
        return all(layer.cached for layer in self.layers)

    def as_json(self) -> dict[str, Any]:
        """Plain data, as in layers.json."""
        return asdict(self)
