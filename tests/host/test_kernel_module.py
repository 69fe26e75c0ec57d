"""What the role kernel_module promises: what DKMS has is built for every installed kernel."""

import pytest
from testinfra.host import Host


@pytest.fixture
def sources(host: Host, image_target: str) -> list[str]:
    """Everything that DKMS was given, such as `nvidia/595.91.07`."""
    if image_target != "machine":
        pytest.skip("a container has no kernel")
    found = host.run("ls -d /var/lib/dkms/*/*/").stdout.split()
    return ["/".join(path.rstrip("/").split("/")[-2:]) for path in found if "/kernel-" not in path]


def test_every_module_is_built_for_every_kernel(host: Host, sources: list[str]) -> None:
    lists = host.check_output("ls -d /lib/modules/*/modules.builtin").split()
    kernels = [path.split("/")[3] for path in lists]
    status = host.check_output("dkms status").splitlines()
    built = {line.rpartition(": ")[0] for line in status if line.endswith(": installed")}
    machine = host.check_output("uname -m")
    expected = {f"{name}, {kernel}, {machine}" for name in sources for kernel in kernels}
    assert expected
    assert built == expected
