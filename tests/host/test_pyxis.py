"""What the role pyxis promises: the stack's plugin, compiled for the Slurm that is there."""

import json
from collections.abc import Callable

import pytest
from testinfra.host import Host

PLUGIN = "/usr/local/lib/slurm/spank_pyxis.so"


@pytest.fixture(autouse=True)
def machine(image_target: str) -> None:
    if image_target != "machine":
        pytest.skip("a container is started by Pyxis, and has none")


@pytest.fixture
def configuration(host: Host) -> str:
    """The folder of Slurm's configuration."""
    return "/opt/slurm/etc" if host.file("/opt/slurm/include").exists else "/etc/slurm"


@pytest.fixture
def prefix(host: Host) -> str:
    """Where Slurm is."""
    return "/opt/slurm" if host.file("/opt/slurm/include").exists else "/usr"


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    said = host.check_output(f"grep -aom1 'pyxis: version v[0-9.]*' {PLUGIN}")
    observed = said.partition("version v")[2]
    record_property("pyxis", observed)
    assert observed == stack_versions["pyxis_release"]


def test_record_says_what_is_there(host: Host, stack_versions: dict[str, str]) -> None:
    record = json.loads(host.file("/etc/bakehouse/components.d/pyxis.json").content_string)
    assert record["version"] == stack_versions["pyxis_release"]
    assert record["paths"] == [PLUGIN]


def test_is_compiled_for_this_slurm(host: Host, prefix: str) -> None:
    built = host.file("/usr/local/share/pyxis/built").content_string.split()[-1]
    header = host.file(f"{prefix}/include/slurm/slurm_version.h").content_string
    assert f"#define SLURM_VERSION_NUMBER {built}" in header


def test_slurm_is_told_of_it(host: Host, configuration: str) -> None:
    lines = host.file(f"{configuration}/plugstack.conf").content_string.splitlines()
    assert lines.count(f"include {configuration}/plugstack.conf.d/*.conf") == 1
    assert host.file(f"{configuration}/plugstack.conf.d").mode == 0o755
    loaded = host.file(f"{configuration}/plugstack.conf.d/pyxis.conf").content_string.splitlines()
    assert f"required {PLUGIN} " in loaded[-1]
    assert "runtime_path=/run/pyxis" in loaded[-1].split()


def test_plugin_is_a_library_that_only_root_changes(host: Host) -> None:
    plugin = host.file(PLUGIN)
    assert (plugin.user, plugin.mode) == ("root", 0o644)
