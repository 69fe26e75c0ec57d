"""Running tests/host/test_<role>.py, the files that judge a role in molecule, on a host."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from bakehouse import layout, scratch
from bakehouse.checks.result import Result
from bakehouse.stacks.stack import Stack

GROUP = "host"
TIME_LIMIT_S = 300
CASE_PACKAGES = "case_packages"
"""Named beside the roles, has what a test case adds to its base compared with the stack."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """What testinfra reaches.

    Attributes:
        name: `docker://<container>` or `ssh://<host>`.
        options: Of testinfra's plugin to pytest, such as `--ssh-config`.
        limit_s: Seconds that all tests together may take.
    """

    name: str
    options: tuple[str, ...] = ()
    limit_s: float = TIME_LIMIT_S


def container(name: str) -> Host:
    """A running container."""
    return Host(name=f"docker://{name}")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the host tests found: a result per test, and the facts that they looked at."""

    results: list[Result]
    facts: dict[str, str]


def run(
    host: Host, roles: list[str], stack: Stack, *, target: str, booted: bool, case: str = ""
) -> Verdict:
    """Run the tests of roles on a running machine or container.

    Args:
        host: Which.
        roles: Roles whose tests apply.
        stack: What the tests compare with.
        target: "machine" or "container".
        booted: Whether an init system has run since the bake.
        case: Test case whose record in the stack, if it has one, is compared as well.

    Returns:
        Results in the group "host". That no test ran at all is a failure, too.
    """
    record = f"{case.replace('-', '_')}_release"
    if record in stack.records:
        roles = [*roles, CASE_PACKAGES]
    files = {role: layout.HOST_TESTS / f"test_{role}.py" for role in roles}
    present = [str(file) for file in files.values() if file.is_file()]
    missing = [_not_there(role, file) for role, file in files.items() if not file.is_file()]
    if not present:  # pytest without files would run every test of the repository
        return Verdict(results=missing or [_nothing_ran("there is no role to judge")], facts={})
    with scratch.folder("host-tests") as temporary:
        variables = temporary / "stack.json"
        variables.write_text(json.dumps(stack.variables), encoding="utf-8")
        report = temporary / "report.xml"
        told = {
            "BAKEHOUSE_STACK_FILE": str(variables),
            "BAKEHOUSE_TARGET": target,
            "BAKEHOUSE_BOOTED": "1" if booted else "0",
            "BAKEHOUSE_CASE_RECORD": record,
        }
        output = _pytest(host, present, report, told)
        found = _read(report, host)
    if not found.results:
        return Verdict(results=[*missing, _nothing_ran(output)], facts={})
    return Verdict(results=[*missing, *found.results], facts=found.facts)


def _pytest(host: Host, files: list[str], report: Path, told: dict[str, str]) -> str:
    command = [
        sys.executable, "-m", "pytest", "--quiet", "--hosts", host.name, *host.options,
        "--rootdir", str(layout.ROOT), "--confcutdir", str(layout.HOST_TESTS),
        "--override-ini", "junit_family=xunit1", "-p", "no:cacheprovider",
        f"--junit-xml={report}", *files,
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command,
            cwd=layout.ROOT,
            env={**os.environ, **told},
            capture_output=True,
            text=True,
            timeout=host.limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the host tests did not end within {host.limit_s:g} s"
    return done.stdout + done.stderr


def _read(report: Path, host: Host) -> Verdict:
    """What pytest wrote; nothing, if it was ended before it wrote all of it."""
    results: list[Result] = []
    facts: dict[str, str] = {}
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 - pytest wrote it
    except (OSError, ElementTree.ParseError):
        cases = []
    for case in cases:
        results.append(_result(case, host))
        if results[-1].status == "pass":
            for item in case.iter("property"):
                facts[item.get("name", "")] = item.get("value", "")
    return Verdict(results=results, facts=facts)


def _result(case: ElementTree.Element, host: Host) -> Result:
    role = case.get("classname", "").rpartition(".")[2].removeprefix("test_")
    # testinfra puts the host, which has another name each time, first among the parameters.
    parameter = re.compile(rf"{re.escape(host.name)}-?")
    name = parameter.sub("", case.get("name", "")).replace("[]", "")
    status, reason = "pass", ""
    for tag, meaning in (("failure", "fail"), ("error", "fail"), ("skipped", "skip")):
        element = case.find(tag)
        if element is not None:
            lines = (element.get("message") or element.text or "no reason given").splitlines()
            status, reason = meaning, lines[0][:300]
    facts = {item.get("name", ""): item.get("value", "") for item in case.iter("property")}
    measured = ", ".join(f"{key} {value}" for key, value in facts.items()) or None
    return Result(
        id=f"{role}-{name}",
        group=GROUP,
        title=f"{role}: {_words(name)}",
        status=status,
        measured=measured,
        expected="holds",
        source=f"tests/host/test_{role}.py",
        reason=reason,
        remedy=_remedy(role) if status == "fail" else "",
        seconds=float(case.get("time", "0")),
    )


def _remedy(role: str) -> str:
    if role == CASE_PACKAGES:
        return "look at the test case's Dockerfile, and build it again"
    return f"look at the role {role}"


def _words(name: str) -> str:
    """A test's name as words, and after a comma what it was asked of."""
    claim, _, parameters = name.removeprefix("test_").partition("[")
    return ", ".join(part for part in (claim.replace("_", " "), parameters.rstrip("]")) if part)


def _not_there(role: str, file: Path) -> Result:
    return Result(
        id=f"{role}-has-host-tests",
        group=GROUP,
        title=f"{role}: has host tests",
        status="fail",
        measured=None,
        expected="a file",
        source=f"tests/host/{file.name}",
        reason="nobody looked at what this role has done",
        remedy=f"write {file.name}, see docs/add-a-role.md",
        seconds=0.0,
    )


def _nothing_ran(output: str) -> Result:
    return Result(
        id="host-tests-ran",
        group=GROUP,
        title="Host tests ran",
        status="fail",
        measured=0,
        expected="at least one test",
        source="tests/host",
        reason=output.strip()[-300:],
        remedy="see why pytest collected nothing",
        seconds=0.0,
    )
