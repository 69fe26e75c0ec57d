"""What the role python promises: the stack's interpreter, and an environment that works."""

from collections.abc import Callable

import pytest
from testinfra.host import Host

VENV = "/opt/venv"


def test_interpreter_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    shown = host.check_output(
        f"{VENV}/bin/python -c 'import platform; print(platform.python_version())'"
    )
    record_property("python", shown)
    assert f"{shown}.".startswith(f"{stack_versions['python_release']}.")


@pytest.mark.parametrize("module", ["ssl", "sqlite3", "ctypes", "lzma", "multiprocessing"])
def test_standard_library_is_complete(host: Host, module: str) -> None:
    assert host.run(f"{VENV}/bin/python -c 'import {module}'").rc == 0


def test_environment_does_not_see_the_distributions_packages(host: Host) -> None:
    flag = f"{VENV}/bin/python -c 'import sys; print(sys.prefix != sys.base_prefix)'"
    assert host.check_output(flag) == "True"
    configuration = host.file(f"{VENV}/pyvenv.cfg").content_string
    assert "include-system-site-packages = false" in configuration


def test_pip_works(host: Host) -> None:
    assert host.check_output(f"{VENV}/bin/pip --version").startswith("pip ")
