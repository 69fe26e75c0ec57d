"""The roles for AWS beyond what every role is tried for: other versions, own builds, refusals."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from role_runs import changed, failure
from stand_ins import STACK, StandIn, booted, scenario
from vendor_mirror import archives
from vendor_mirror.offer import digest, program, text

pytestmark = [pytest.mark.docker, pytest.mark.slow]

EARLIER = {"aws_cli_release": "2.36.5", "amazon_ssm_agent_release": "3.3.5225.0"}
CONFIGURE = r"""
for option in "$@"; do
  case "$option" in
    --prefix=*) prefix=${option#--prefix=} ;;
    --with-libfabric=*) test -d "${option#*=}/lib" || { echo 'no libfabric' >&2; exit 1; } ;;
  esac
done
cat > Makefile <<END
all: libnccl-net-ofi.so
libnccl-net-ofi.so: plugin.c
	gcc -shared -fPIC -o \$@ plugin.c
install: all
	mkdir -p $prefix/lib
	cp libnccl-net-ofi.so $prefix/lib/
	ln -sf libnccl-net-ofi.so $prefix/lib/libnccl-tuner-ofi.so
END
"""


@pytest.fixture
def machine() -> Iterator[StandIn]:
    """A fresh machine, with an earlier edition in its mirror too."""
    with booted(STACK, "ubuntu24.04", ({}, EARLIER)) as stand_in:
        yield stand_in


@pytest.mark.parametrize("role", ["aws_cli", "amazon_ssm_agent"])
def test_another_version_takes_the_place_of_the_one_that_is_there(
    machine: StandIn, role: str, tmp_path: Path
) -> None:
    for edition in (1, 0, 1):
        variables = machine.variables(edition) | scenario(role).variables
        report = machine.apply(tmp_path, [role], **variables)
        assert failure(report, "target") == ""
        assert machine.broken_promises([role], variables) == ""


def test_an_agent_that_ran_leaves_no_identity(machine: StandIn, tmp_path: Path) -> None:
    kept = "/var/lib/amazon/ssm/Vault/Store/RegistrationKey"
    variables = machine.variables() | scenario("amazon_ssm_agent").variables
    assert failure(machine.apply(tmp_path, ["amazon_ssm_agent"], **variables), "target") == ""
    machine.container.exec_run(["install", "-D", "/dev/null", kept])
    again = machine.apply(tmp_path, ["amazon_ssm_agent"], **variables)
    assert changed(again, "target") != []
    status, _ = machine.container.exec_run(["test", "-e", kept])
    assert status == 1


def test_the_plugin_is_built_where_the_record_is_of_its_source(
    machine: StandIn, tmp_path: Path
) -> None:
    version = "1.99.1"
    said = f'const char *version = "NET/OFI Initializing aws-ofi-nccl {version}";\n'
    folder = f"aws-ofi-nccl-{version}"
    source = archives.pack(
        {
            f"{folder}/configure": program(CONFIGURE),
            f"{folder}/plugin.c": text(said),
        },
        "source.tar.gz",
    )
    put(machine, "/srv/source.tar.gz", source)
    record = {"version": version, "url": "file:///srv/source.tar.gz", "sha256": digest(source)}
    variables = machine.variables() | {
        "aws_ofi_nccl_release": record,
        "aws_ofi_nccl_prefix": "/opt/aws-ofi-nccl",
        "aws_ofi_nccl_build_packages": ["gcc", "libc6-dev", "make"],
    }
    before = failure(machine.apply(tmp_path, ["aws_ofi_nccl"], **variables), "target")
    assert before != ""  # without a libfabric, `configure` ends
    efa = machine.variables()
    assert failure(machine.apply(tmp_path, ["aws_efa"], **efa), "target") == ""
    assert failure(machine.apply(tmp_path, ["aws_ofi_nccl"], **variables), "target") == ""
    assert machine.broken_promises(["aws_ofi_nccl"], variables) == ""
    again = machine.apply(tmp_path, ["aws_ofi_nccl"], **variables)
    assert changed(again, "target") == []


def test_without_a_plugin_the_role_says_who_brings_it(machine: StandIn, tmp_path: Path) -> None:
    message = failure(machine.apply(tmp_path, ["aws_ofi_nccl"], **machine.variables()), "target")
    assert "the role aws_efa comes first" in message


def test_a_kernel_without_a_client_stops_the_bake(machine: StandIn, tmp_path: Path) -> None:
    variables = machine.variables() | {"aws_lustre_kernels": ["6.99.0-1-aws"]}
    message = failure(machine.apply(tmp_path, ["aws_lustre"], **variables), "target")
    assert "lustre-client-modules-6.99.0-1-aws" in message


def test_a_machine_without_a_kernel_gets_no_client(machine: StandIn, tmp_path: Path) -> None:
    message = failure(machine.apply(tmp_path, ["aws_lustre"], **machine.variables()), "target")
    assert "no kernel is installed" in message


def put(machine: StandIn, path: str, content: bytes) -> None:
    """Write a file on a machine."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(path.rpartition("/")[2])
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    assert machine.container.put_archive(path.rpartition("/")[0], buffer.getvalue())


def test_a_system_without_a_lustre_client_is_refused_or_left_alone(tmp_path: Path) -> None:
    with booted(STACK, "debian12") as machine:
        variables = machine.variables()
        message = failure(machine.apply(tmp_path, ["aws_lustre"], **variables), "target")
        assert "there is no Lustre client for Debian 12" in message
        optional = variables | {"aws_lustre_optional": True}
        report = machine.apply(tmp_path, ["aws_lustre"], **optional)
        assert (failure(report, "target"), changed(report, "target")) == ("", [])
        mounting = optional | {"aws_lustre_mounts": [{"path": "/fsx", "src": "fs@tcp:/a"}]}
        message = failure(machine.apply(tmp_path, ["aws_lustre"], **mounting), "target")
        assert "there is no Lustre client for Debian 12" in message
