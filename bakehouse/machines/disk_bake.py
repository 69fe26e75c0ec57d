"""Baking a disk: build the image, write its disk, boot it to prove it, keep it with its papers."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bakehouse import judge, layout, scratch
from bakehouse.builder.build import build_lineage
from bakehouse.builder.inputs import stack_of
from bakehouse.builder.locks import only_one
from bakehouse.builder.result import BuildResult, Options
from bakehouse.console import progress
from bakehouse.errors import BuildError, InputError
from bakehouse.images import Image, get_image, load_images
from bakehouse.machines import disk_hygiene, disk_image, judgement, proof, qemu_bake, virtual
from bakehouse.machines.disk_image import Disk
from bakehouse.machines.proof import Proof
from bakehouse.stacks.validation import suggestion

RECORD = "disk.json"
SUMS = "SHA256SUMS"
_CODE = ("disk_image.py", "proof.py", "qemu_bake.py", "virtual.py", "write_disk.py")


@dataclass(frozen=True, kw_only=True)
class Order:
    """One disk to be made.

    Attributes:
        image: As in images.yml; has a disk.
        accelerator: Of virtual.ACCELERATORS.
        proven: Boot it; else nothing is known of it but that it was written.
        again: Even if it is there.
        booted: Have the roles run on a machine that has booted, rather than in a container.
        options: How the image is built.
    """

    image: Image
    accelerator: str = "auto"
    proven: bool = True
    again: bool = False
    booted: bool = False
    options: Options = field(default_factory=Options)


def with_disk(name: str) -> Image:
    """An image that becomes a disk.

    Raises:
        InputError: There is no such image, or it has no disk.
    """
    image = get_image(name)
    if image.disk is None:
        names = [other.name for other in load_images().values() if other.disk]
        raise InputError(
            "images.yml does not make a disk of this one",
            where=name,
            remedy=f"{suggestion(name, names)}; or give it `disk:` and a parent with a kernel",
        )
    return image


def bake(order: Order) -> Path:
    """Build the image, write its disk, prove it; returns the folder `out/<image>/disk/`.

    Raises:
        BuildError: A role failed, the disk does not boot, or something on it does not hold.
            The disk that was there before stays.
        HostError: qemu is not installed, or the disk of this machine is full.
    """
    boots = order.proven or order.booted
    hardware = virtual.hardware(order.accelerator) if boots else None
    base = _base(order) if order.booted else None
    built = _planned(order, base)
    folder = layout.OUT / order.image.name / "disk"
    record = _record(order, built)
    with only_one(f"{order.image.name}-disk", f"a disk of {order.image.name}"):
        if not order.again and _recorded(folder) == record:
            progress.print(f"[bold]{order.image.name}[/bold] its disk is unchanged")
        else:
            _make(order, built, base, hardware, record)
    return folder


def _make(
    order: Order,
    built: BuildResult,
    base: Disk | None,
    hardware: virtual.Hardware | None,
    record: dict[str, Any],
) -> None:
    """Write the disk and prove it, as far as that is wanted."""
    with _in_the_making(layout.OUT / order.image.name / "disk") as made:
        if base is not None and hardware is not None:
            disk, built = qemu_bake.bake(
                order.image, stack_of(order.image), base, made, hardware,
                allow_broken_stack=order.options.allow_broken_stack,
            )  # fmt: skip
        else:
            disk = _written(order, built, made)
        sums = (f"{disk_image.digest(path)}  {path.name}\n" for path in (disk.raw, disk.qcow2))
        (made / SUMS).write_text("".join(sums), encoding="ascii")
        if order.proven and hardware is not None:
            _prove(order, built, disk, made, hardware)
        (made / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _written(order: Order, built: BuildResult, folder: Path) -> Disk:
    assert order.image.disk is not None
    with progress.status(f"{order.image.name}: writing its disk"):
        return disk_image.make(
            built.image_id,
            folder,
            gb=order.image.disk.gb,
            name=f"{order.image.name}-{built.build[:12]}",
        )


def _base(order: Order) -> Disk:
    """The disk of the image's parent, which has no roles yet."""
    parent = with_disk(str(order.image.parent))
    folder = bake(Order(image=parent, proven=False, options=order.options))
    (raw,), (qcow2,) = folder.glob("*.raw"), folder.glob("*.qcow2")
    return Disk(raw=raw, qcow2=qcow2)


def _planned(order: Order, base: Disk | None) -> BuildResult:
    """The build that the disk is made from: done, or if a machine does it, as decided."""
    if base is not None:
        return qemu_bake.planned(order.image, stack_of(order.image), base)
    return build_lineage(order.image.name, order.options)[-1]


def _prove(
    order: Order, built: BuildResult, disk: Disk, folder: Path, hardware: virtual.Hardware
) -> None:
    progress.print(f"[bold]{order.image.name}[/bold] booting its disk, with {hardware.accelerator}")
    with scratch.folder("proof") as temporary:
        try:
            seen = proof.prove(order.image, disk.qcow2, temporary, hardware)
        finally:
            _keep_consoles(temporary, folder.parent / "disk-consoles")
    if order.image.playbook:
        seen.results += disk_hygiene.results(disk.raw)
    (folder / "proof.json").write_text(
        json.dumps({"accelerator": hardware.accelerator, **proof.as_json(seen)}, indent=1) + "\n",
        encoding="utf-8",
    )
    if order.image.playbook:
        _describe(order.image, built, seen, disk, folder)
    failed = [result for result in seen.results if result.status == "fail"]
    if failed:
        lines = "\n".join(f"  {r.id}: {r.reason}; remedy: {r.remedy}" for r in failed)
        raise BuildError(
            f"the disk boots, and this does not hold on it:\n{lines}",
            where=order.image.name,
            remedy=f"consoles are in {folder.parent / 'disk-consoles'}",
        )
    passed = sum(result.status == "pass" for result in seen.results)
    progress.print(f"  {passed} results passed, none failed")


def _describe(image: Image, built: BuildResult, seen: Proof, disk: Disk, folder: Path) -> None:
    """Write report, SBOMs and provenance beside a disk."""
    stack = stack_of(image)
    report = judgement.report(
        seen.findings,
        image=image.name,
        image_id=built.image_id,
        stack=stack,
        build={**asdict(built), "proof_seconds": seen.seconds},
        judged=seen.results,
    )
    judge.write(report, stack, folder, beside=(disk.raw, disk.qcow2, folder / SUMS))


def _record(order: Order, built: BuildResult) -> dict[str, Any]:
    """All that decides a disk and what is known of it."""
    here = Path(__file__).parent
    code = "".join(disk_image.digest(here / name) for name in _CODE)
    return {
        "image_id": built.image_id,
        "disk": order.image.disk.model_dump() if order.image.disk else None,
        "code": hashlib.sha256(code.encode()).hexdigest(),
        "judge": judge.judge_digest() if order.proven else "not judged",
    }


def _recorded(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


@contextmanager
def _in_the_making(folder: Path) -> Iterator[Path]:
    """A folder that takes the place of the present one where all went well."""
    part = folder.with_name("disk.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _keep_consoles(source: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in source.glob("*.console.log"):
        shutil.copy(path, folder)
