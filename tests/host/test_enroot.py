"""What the role enroot promises: the stack's enroot, for every user, on disks of the machine."""

import json
import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

CONFIGURATION = "/etc/enroot/enroot.conf.d/50-bakehouse.conf"


@pytest.fixture(autouse=True)
def machine(image_target: str) -> None:
    if image_target != "machine":
        pytest.skip("a container is run by enroot, and has none")


@pytest.fixture
def settings(host: Host) -> dict[str, str]:
    """What the role configures."""
    lines = host.file(CONFIGURATION).content_string.splitlines()
    pairs = [line.split(maxsplit=1) for line in lines if line.startswith("ENROOT_")]
    return dict(pairs)


def test_version_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    text = host.file("/usr/bin/enroot").content_string
    observed = re.search(r'^export ENROOT_VERSION="(.*)"$', text, re.MULTILINE)
    assert observed is not None
    record_property("enroot", observed[1])
    assert observed[1] == stack_versions["enroot_release"]


def test_record_says_what_is_there(host: Host, stack_versions: dict[str, str]) -> None:
    record = json.loads(host.file("/etc/bakehouse/components.d/enroot.json").content_string)
    assert record["version"] == stack_versions["enroot_release"]
    assert [path for path in record["paths"] if not host.file(path).is_file] == []


@pytest.mark.parametrize("name", ["RUNTIME", "CACHE", "DATA"])
def test_every_user_has_a_folder_of_his_own(
    host: Host, settings: dict[str, str], name: str
) -> None:
    shared, _, own = settings[f"ENROOT_{name}_PATH"].rpartition("/")
    assert own == "user-$(id -u)"
    folder = host.file(shared)
    assert (folder.user, folder.mode) == ("root", 0o1777)
    boot = host.file("/etc/tmpfiles.d/enroot.conf").content_string.splitlines()
    assert f"d {shared} 1777 root root" in boot


def test_only_root_changes_what_holds_them(host: Host, settings: dict[str, str]) -> None:
    assert host.file(settings["ENROOT_DATA_PATH"].rsplit("/", 2)[0]).mode == 0o755


def test_an_image_that_was_not_written_whole_is_an_error(settings: dict[str, str]) -> None:
    assert "-exit-on-error" in settings["ENROOT_SQUASH_OPTIONS"].split()


@pytest.mark.parametrize("hook", ["50-slurm-pmi.sh", "50-slurm-pytorch.sh"])
def test_hook_is_on(host: Host, hook: str) -> None:
    link = host.file(f"/etc/enroot/hooks.d/{hook}")
    assert link.linked_to == f"/usr/share/enroot/hooks.d/{hook}"
    assert host.file(link.linked_to).mode == 0o755


def test_users_may_make_namespaces(host: Host) -> None:
    lines = host.file("/etc/sysctl.d/60-enroot.conf").content_string.splitlines()
    allowed = [line for line in lines if re.fullmatch(r"-user\.max_user_namespaces = \d+", line)]
    assert len(allowed) == 1


def test_a_profile_allows_it_where_one_is_needed(host: Host) -> None:
    system = (host.system_info.distribution, str(host.system_info.release))
    if system != ("ubuntu", "24.04"):
        pytest.skip("this distribution lets every program make user namespaces")
    profile = host.file("/etc/apparmor.d/enroot")
    assert "userns" in profile.content_string
    assert profile.mode == 0o644


@pytest.mark.parametrize("helper", ["enroot-mksquashovlfs", "enroot-aufs2ovlfs"])
def test_helper_has_no_more_rights(host: Host, helper: str) -> None:
    assert "cap_sys_admin" not in host.check_output(f"getcap /usr/bin/{helper}")
