"""Judging an image: start it, run host tests and checks, look into it, write what was found."""

import datetime
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from docker.errors import NotFound
from docker.models.containers import Container

from bakehouse import engine, host_tests, layout
from bakehouse.builder.inputs import stack_of
from bakehouse.checks import outputs
from bakehouse.checks.result import GROUPS, Result
from bakehouse.console import progress
from bakehouse.errors import HostError, InputError
from bakehouse.images import Image, get_image, lineage, load_images, roles_of
from bakehouse.report import inventory, page, provenance, sbom
from bakehouse.report.content import Report
from bakehouse.stacks.stack import Stack
from bakehouse.stacks.validation import suggestion
from bakehouse.systemd import booted_container

CLEANUP = "image_cleanup"
"""Its tests look at an image that has never booted; all others at one that runs."""

IDENTITY = "/etc/bakehouse/image.json"
KEYS = layout.STATE / "keys"
SLEEP = ["sleep", "infinity"]


def judge(name: str, *, keep: bool = False) -> Report:
    """Judge an image and write `out/<image>/`.

    Args:
        name: Image of images.yml, of kind container, machine or case.
        keep: Leave the containers behind for a look at them.

    Raises:
        InputError: No such image, or a plain rootfs, which promises nothing.
        HostError: The image was not built, or no engine answers.
    """
    image = get_image(name)
    if image.kind == "rootfs":
        judged = sorted(n for n, other in load_images().items() if other.kind != "rootfs")
        raise InputError(
            "this is a plain distribution and promises nothing",
            where=name,
            remedy=f"one of: {', '.join(judged)}",
        )
    found = engine.image(f"{image.repository}:latest")
    if found is None:
        raise HostError(f"{name} is not built", where=name, remedy=f"bakehouse build {name}")
    engine.sweep()
    report = _examined(image, found, stack_of(image), keep=keep)
    write(report, stack_of(image))
    return report


def unchanged(name: str) -> dict[str, Any] | None:
    """The last report if nothing failed in it, and image, run and judge are still the same."""
    image = get_image(name)
    found = engine.image(f"{image.repository}:latest")
    last = _json(layout.OUT / name / "report.json")
    same = (
        last is not None
        and found is not None
        and last.get("verdict") == "pass"
        and last.get("image_id") == found.id
        and last.get("judge") == judge_digest()
        and last.get("run") == _run_of(image, str(found.id))
    )
    return last if same else None


def judge_digest() -> str:
    """SHA-256 over the code that judges: checks, host tests, report."""
    package = Path(__file__).parent
    files = [*package.rglob("*.py"), *package.rglob("*.j2"), *layout.HOST_TESTS.glob("*.py")]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def write(report: Report, stack: Stack, folder: Path | None = None) -> Path:
    """Write report, SBOMs and signed provenance; returns the folder, `out/<image>/` by default."""
    folder = folder or layout.OUT / report.image
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    arguments = (report.image, report.image_id, report.inventory, now)
    texts = {
        "sbom.cdx.json": sbom.cyclonedx(*arguments),
        "sbom.spdx.json": sbom.spdx(*arguments),
        "report.json": json.dumps(report.as_json(), indent=1) + "\n",
        "report.xml": outputs.as_junit(report.results),
        "report.html": page.render(report),
        "provenance.pub": provenance.public_key(KEYS),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    files = {name: provenance.digest(folder / name) for name in texts}
    statement = provenance.statement(
        report.image, report.image_id, files, stack, report.build, report.identity
    )
    (folder / "provenance.json").write_text(provenance.sign(statement, KEYS), encoding="utf-8")
    return folder


def never_booted(image: Image, image_id: str, stack: Stack) -> list[Result]:
    """What can be seen only on a machine image that has never booted, before it has a name.

    Raises:
        HostError: The image's own checks do not run.
    """
    with engine.running_container(image_id, SLEEP, entrypoint=[], user="0") as container:
        results = _inside(container, [group for group in image.checks if group == "hygiene"])
        if CLEANUP in roles_of(image.name):
            found = _host_tests(container, [CLEANUP], stack, "machine", booted=False)
            results = [*found.results, *results]
    return results


def node_results(groups: list[str]) -> list[Result]:
    """Results of the checks on this very machine.

    Raises:
        InputError: There is no such group.
    """
    for group in groups:
        if group not in GROUPS:
            raise InputError(
                f"there is no group {group}", where=group, remedy=suggestion(group, GROUPS)
            )
    return _own_checks([part for group in groups for part in ("--group", group)])


def _examined(image: Image, found: Any, stack: Stack, *, keep: bool) -> Report:
    target = "machine" if image.kind == "machine" else "container"
    roles = roles_of(image.name)
    progress.print(f"[bold]{image.name}[/bold] checking")
    with engine.running_container(
        str(found.id), SLEEP, entrypoint=[], user="0", keep=keep
    ) as container:
        identity = _identity(container)
        packages = inventory.take(lambda command: execute(container, command), identity)
        first = [CLEANUP] if image.kind == "machine" else roles
        case = image.case or ""
        verdicts = [_host_tests(container, first, stack, target, booted=False, case=case)]
        groups = ["hygiene"] if image.kind == "machine" else list(image.checks)
        results = _inside(container, [g for g in groups if g in image.checks])
    if image.kind == "machine":
        with booted_container(str(found.id), keep=keep) as container:
            others = [role for role in roles if role != CLEANUP]
            verdicts.append(_host_tests(container, others, stack, target, booted=True))
            results += _inside(container, [g for g in image.checks if g != "hygiene"])
    if "training" in image.checks:
        results += _training(image, str(found.id))
    return Report(
        image=image.name,
        image_id=str(found.id),
        size_bytes=int(found.attrs["Size"]),
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        judge=judge_digest(),
        identity=identity,
        stack_versions=stack.versions,
        results=[r for verdict in verdicts for r in verdict.results] + results,
        facts={name: text for verdict in verdicts for name, text in verdict.facts.items()},
        inventory=packages,
        build=_build(image),
        builds_below=[_build(i) for i in lineage(image.name)[:-1] if i.kind != "rootfs"],
        run=_run_of(image, str(found.id)),
    )


def _host_tests(
    container: Container,
    roles: list[str],
    stack: Stack,
    target: str,
    *,
    booted: bool,
    case: str = "",
) -> host_tests.Verdict:
    host = host_tests.container(str(container.name))
    return host_tests.run(host, roles, stack, target=target, booted=booted, case=case)


def _inside(container: Container, groups: list[str]) -> list[Result]:
    """The image's own checks, run in it; training is judged from the outside."""
    options = [part for g in groups if g != "training" for part in ("--group", g)]
    if not options:  # without a group, all of them would run
        return []
    status, text = execute(container, ["/usr/local/bin/bakehouse-check", *options, "--json", "-"])
    if status not in {0, 1}:
        raise HostError(
            f"the image's own checks do not run: {text.strip()[-300:]}",
            where=str(container.name),
            remedy="bake the image with the role node_checks",
        )
    return _results(text, str(container.name))


def _training(image: Image, image_id: str) -> list[Result]:
    """The run judged; a run of another image says nothing of this one."""
    file = _run_file(image)
    run = _json(file)
    if run is None or run.get("image_id") == image_id:
        return _own_checks(
            ["--group", "training", *(["--run", str(file)] if file.exists() else [])]
        )
    reason = f"the last run was of another image: `bakehouse run {image.name}` runs this one"
    return [replace(result, reason=reason) for result in _own_checks(["--group", "training"])]


def _own_checks(options: list[str]) -> list[Result]:
    command = [sys.executable, "-m", "bakehouse.checks", *options, "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return _results(done.stdout or done.stderr, "bakehouse.checks")


def _results(text: str, where: str) -> list[Result]:
    try:
        return [Result(**result) for result in json.loads(text)["results"]]
    except (ValueError, KeyError, TypeError) as error:
        raise HostError(
            f"these are not results of checks: {text.strip()[-300:] or 'nothing'}",
            where=where,
            remedy="the checks are of another version: build the image again",
        ) from error


def execute(container: Container, command: list[str]) -> tuple[int, str]:
    """Status and output of a command in a container; its errors where it failed without output."""
    done = container.exec_run(command, demux=True)
    streams: Any = done.output
    output, errors = ((stream or b"").decode(errors="replace") for stream in streams)
    return int(done.exit_code or 0), output or (errors if done.exit_code else "")


def _identity(container: Container) -> dict[str, Any] | None:
    try:
        chunks, _ = container.get_archive(IDENTITY)
    except NotFound:
        return None
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        member = archive.extractfile("image.json")
        return _object(member.read()) if member else None


def _build(image: Image) -> dict[str, Any]:
    return _json(layout.OUT / image.name / "layers.json") or {"image": image.name}


def _run_file(image: Image) -> Path:
    return layout.OUT / image.name / "run" / "run.json"


def _run_of(image: Image, image_id: str) -> dict[str, Any] | None:
    run = _json(_run_file(image)) if image.kind == "case" else None
    return run if run is not None and run.get("image_id") == image_id else None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        return _object(path.read_bytes())
    except OSError:
        return None


def _object(content: bytes) -> dict[str, Any] | None:
    """A JSON object; None if it is none: what needs it says so."""
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
