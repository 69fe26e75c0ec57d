"""Baking machine images: Packer, with the same playbooks as the container builder."""

import shutil
import time

from bakehouse import engine
from bakehouse.builder import ledger
from bakehouse.builder import plan as layers
from bakehouse.builder.result import BuildResult, Options
from bakehouse.builder.supply import Supply
from bakehouse.errors import HostError
from bakehouse.images import Image
from bakehouse.machines import rehearsal
from bakehouse.machines.plan import Bake, planned, remove_nameless
from bakehouse.stacks.constraints import refuse_broken
from bakehouse.stacks.stack import Stack

__all__ = ["bake"]


def bake(image: Image, stack: Stack, options: Options | None = None) -> BuildResult:
    """Bake a machine image with Packer, unless one of the same inputs is there.

    Args:
        image: Of kind machine; its parent is there.
        stack: The versions.
        options: `plan_only` says what would run; `no_cache` bakes in any case.

    Raises:
        InputError: The stack breaks a rule, or a role does not exist.
        BuildError: A role failed, or the judgement of the machine, or its budget; no container
            and no image is left, and the name stays where it was.
        DownloadError: A wheel cannot be had, or is not what its record promises.
        HostError: Packer is not installed, or no engine answers.
    """
    chosen = options or Options()
    refuse_broken(stack, allow=chosen.allow_broken_stack)
    job = planned(image, stack, no_cache=chosen.no_cache)
    if job.why and not chosen.plan_only:
        if shutil.which("packer") is None:
            raise HostError("packer is not installed", remedy="run `make setup`, which installs it")
        remove_nameless(image)
    if job.why and chosen.chain is not None:
        job = chosen.chain.start(job, chosen)
    if chosen.plan_only or not job.why:
        return job.result(job.present, job.layers())
    return _baked(job, chosen.supply)


def _baked(job: Bake, supply: Supply | None) -> BuildResult:
    started = time.monotonic()
    built = rehearsal.build(job, supply)
    build_id = layers.build_id(job.whole.key)
    engine.tag(built.image_id, job.image.repository, "latest", build_id)
    seconds = time.monotonic() - started
    ledger.record(job.image.name, job.whole, job.below, round(seconds, 2))
    for name, step in built.steps.items():
        ledger.record(job.image.name, job.role(name), job.below, round(step.seconds, 2))
    other = seconds - sum(step.seconds for step in built.steps.values())
    return job.result(built.image_id, job.layers(built.steps, built.sizes), packer=round(other, 2))
