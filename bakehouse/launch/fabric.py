"""What EFA, NCCL, Neuron and PyTorch need to be told on an EC2 instance type, and what not."""

from dataclasses import dataclass

from packaging.specifiers import SpecifierSet

from bakehouse.launch.environment import Setting
from bakehouse.stacks.constraints import normalised
from bakehouse.stacks.environment import Scheduler, Variable, When, load_environment
from bakehouse.stacks.instances import Instance, get_instance
from bakehouse.stacks.stack import Stack


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A variable that is not set, and why."""

    variable: str
    reason: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Fabric:
    """What the rules may look at.

    Attributes:
        instance_type: EC2 instance type, without HyperPod's `ml.`.
        versions: Of the stack's components.
        nodes: Machines of the job.
        scheduler: Where it runs; None where that is not known.
        case: Test case; None where that is not known.
    """

    instance_type: str
    instance: Instance
    versions: dict[str, str]
    nodes: int
    scheduler: Scheduler | None
    case: str | None

    def holds(self, when: When) -> bool:
        """Whether all terms hold here."""
        machine = self.instance
        terms: list[tuple[object, bool]] = [
            (when.efa, (machine.efa_interfaces > 0 and self.nodes > 1) == when.efa),
            (when.gpus, (machine.gpus > 0) == when.gpus),
            (when.neuron, (machine.neuron_devices > 0) == when.neuron),
            (when.families, self.instance_type.partition(".")[0] in (when.families or ())),
            (when.gpu_generations, machine.gpu_generation in (when.gpu_generations or ())),
            (when.schedulers, self.scheduler in (when.schedulers or ())),
            (when.cases, self.case in (when.cases or ())),
        ]
        return all(true for given, true in terms if given is not None) and all(
            self._has(component, text) for component, text in when.versions.items()
        )

    def _has(self, component: str, specifier: str) -> bool:
        version = normalised(self.versions.get(component, ""))
        return version is not None and SpecifierSet(specifier).contains(version, prereleases=True)


def fabric_settings(
    instance_type: str,
    stack: Stack,
    *,
    nodes: int = 2,
    scheduler: Scheduler | None = "slurm",
    case: str | None = None,
) -> tuple[list[Setting], list[LeftOut]]:
    """Variables that are set on an instance type, and those that are left out.

    Raises:
        InputError: There is no such instance type, or stacks/environment.yml is wrong.
    """
    fabric = Fabric(
        instance_type=instance_type,
        instance=get_instance(instance_type),
        versions=stack.versions,
        nodes=nodes,
        scheduler=scheduler,
        case=case,
    )
    found: list[Setting] = []
    left_out: list[LeftOut] = []
    for name, variable in load_environment().items():
        setting = _setting(name, variable, fabric)
        if setting is not None:
            found.append(setting)
        else:
            reason, source = variable.left_out, variable.source
            left_out.append(LeftOut(variable=name, reason=reason, source=source))
    return found, left_out


def _setting(name: str, variable: Variable, fabric: Fabric) -> Setting | None:
    for one in variable.values:
        if fabric.holds(one.when):
            return Setting(variable=name, value=one.value, reason=one.reason)
    return None
