"""What the role nvidia_cudnn promises: the stack's library, found by name."""

import json
from collections.abc import Callable

from testinfra.host import Host

VERSION = (
    "import ctypes; get = ctypes.CDLL('libcudnn.so.{}').cudnnGetVersion; "
    "get.restype = ctypes.c_size_t; print(get())"
)


def test_version_of_the_library_is_the_stacks(
    host: Host, stack_versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    promised = stack_versions["nvidia_cudnn_release"]
    code = int(host.check_output(f'/usr/bin/python3 -c "{VERSION.format(promised.split(".")[0])}"'))
    observed = f"{code // 10000}.{code // 100 % 100}.{code % 100}"
    record_property("nvidia_cudnn", observed)
    assert f"{promised}.".startswith(f"{observed}.")


def test_record_has_the_builds_number(host: Host, stack_versions: dict[str, str]) -> None:
    record = json.loads(host.file("/etc/bakehouse/components.d/nvidia_cudnn.json").content_string)
    assert record["version"].startswith(stack_versions["nvidia_cudnn_release"])
