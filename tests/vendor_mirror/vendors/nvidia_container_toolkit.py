"""The container toolkit as NVIDIA's repository has it, in four packages of one version.

Parts, dependencies and units: github.com/NVIDIA/nvidia-container-toolkit, folders packaging and
deployments/systemd, at v1.20.0.
"""

from vendor_mirror.offer import Package, Release, program, text

# It writes the two files that the real one writes for containerd; for CDI it needs GPUs.
TOOL = """case "$*" in
    --version) echo 'NVIDIA Container Toolkit CLI version {version}' ;;
    *runtime*configure*--runtime=containerd*)
        mkdir -p /etc/containerd/conf.d
        echo 'imports = ["/etc/containerd/conf.d/*.toml"]' > /etc/containerd/config.toml
        echo 'BinaryName = "/usr/bin/nvidia-container-runtime"' \
            > /etc/containerd/conf.d/99-nvidia.toml ;;
    *) echo "stands in: cannot $*" >&2; exit 1 ;;
esac"""
SERVICE = """[Unit]
Description=stands in for what describes the GPUs
ConditionPathExists=/usr/bin/nvidia-smi

[Service]
Type=oneshot
ExecStart=/usr/bin/nvidia-ctk cdi generate

[Install]
WantedBy=multi-user.target
"""
PATH = """[Unit]
Description=stands in for what notices a new driver

[Path]
PathChanged=/usr/bin/nvidia-ctk

[Install]
WantedBy=multi-user.target
"""
UNITS = "/usr/lib/systemd/system/nvidia-cdi-refresh"


def packages(release: Release) -> list[Package]:
    """The toolkit and its parts, each tied to the version of the others."""
    version, name = release.version, release.package
    base, tools, library = f"{name}-base", "libnvidia-container-tools", "libnvidia-container1"
    exactly = f"(= {version}-1+fixture)"
    files = {
        "/usr/bin/nvidia-ctk": program(TOOL.format(version=version)),
        "/usr/bin/nvidia-container-runtime": program('exec runc "$@"'),
        f"{UNITS}.service": text(SERVICE),
        f"{UNITS}.path": text(PATH),
    }
    return [
        Package(name=library, version=version),
        Package(name=tools, version=version, depends=(f"{library} {exactly}",)),
        Package(name=base, version=version, files=files),
        Package(name=name, version=version, depends=(f"{base} {exactly}", f"{tools} {exactly}")),
    ]
