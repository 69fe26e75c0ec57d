"""What all tests share: which ones run, what is kept, and that nothing else is left behind."""

import os
import shutil
import signal
from collections.abc import Generator, Iterator

import pytest
from left_behind import things

from bakehouse import engine
from bakehouse.errors import HostError

KEEP = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False, "no": False}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    parser.addoption("--slow", action="store_true", help="run what is too slow for every day too")
    parser.addoption(
        "--keep-artifacts",
        default="f",
        metavar="t|f",
        help="t keeps images, containers and files that tests make (default: f)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a value of --keep-artifacts that is neither yes nor no."""
    value = str(config.getoption("--keep-artifacts")).lower()
    if value not in KEEP:
        raise pytest.UsageError(f"--keep-artifacts={value}: give t or f")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell without job control starts `make test &` so, and every program would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip slow tests unless asked for, and Docker tests where no engine answers."""
    reason = _no_engine() if any(item.get_closest_marker("docker") for item in items) else ""
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: runs with --slow"))
        elif item.get_closest_marker("docker") and reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def _no_engine() -> str:
    """Why Docker tests cannot run; `make test` and CI demand that they do."""
    try:
        engine.connect()
    except HostError as error:
        if os.environ.get("BAKEHOUSE_REQUIRE_DOCKER") == "1":
            raise pytest.UsageError(f"Docker tests are demanded, but {error}") from error
        return f"no Docker engine: {error.what}"
    return ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport]:
    """Where everything is demanded, fail a test that found a reason of its own not to run.

    Tests of a host may: what does not apply to its system or hardware is not looked at.
    """
    report = yield
    demanded = os.environ.get("BAKEHOUSE_REQUIRE_ALL") == "1"
    host = item.config.getoption("--hosts", None)
    if report.skipped and demanded and not host and not item.get_closest_marker("slow"):
        report.outcome, report.longrepr = "failed", f"demanded, but {report.longreprtext}"
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the files of tests: pytest itself keeps those of the last three sessions."""
    factory: pytest.TempPathFactory | None = getattr(session.config, "_tmp_path_factory", None)
    kept = KEEP[str(session.config.getoption("--keep-artifacts")).lower()]
    if factory is not None and not kept and not session.config.getoption("basetemp"):
        shutil.rmtree(factory.getbasetemp(), ignore_errors=True)


@pytest.fixture(scope="session")
def keep_artifacts(request: pytest.FixtureRequest) -> bool:
    """Whether the user wants to look at what the tests made."""
    return KEEP[str(request.config.getoption("--keep-artifacts")).lower()]


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest, keep_artifacts: bool) -> Iterator[None]:
    """Fail the last test if containers, networks, volumes or test images are left."""
    uses_docker = any(item.get_closest_marker("docker") for item in request.session.items)
    if not uses_docker or _no_engine():
        yield
        return
    before = things()
    yield
    left = things() - before
    if left and not keep_artifacts:
        pytest.fail(f"tests left behind: {', '.join(sorted(left))}", pytrace=False)
