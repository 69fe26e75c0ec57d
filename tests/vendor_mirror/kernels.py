"""Kernels, their headers and DKMS, as a distribution has them: two kernels are installed together.

The stand-in for DKMS has the commands that roles use. It wants headers where the real one does,
runs the scripts of the module's package, and installs a module that `modinfo` can read.
"""

from vendor_mirror.offer import File, Package, Release, compiled, link, program, text

KERNELS = {
    "ubuntu22.04": ("6.8.0-1029-aws", "6.8.0-1030-aws"),
    "ubuntu24.04": ("6.17.0-1004-aws", "6.17.0-1005-aws"),
    "amazon2023": (
        "6.1.158-180.294.amzn2023.x86_64",
        "6.1.159-181.297.amzn2023.x86_64",
    ),
}
"""By system, in the distributions' own form."""

_DKMS = r"""
command=$1; shift
while [ $# -gt 0 ]; do
    case $1 in
        -m) module=$2; shift 2 ;;
        -v) version=$2; shift 2 ;;
        -k) kernel=$2; shift 2 ;;
        *) shift ;;
    esac
done
tree=/var/lib/dkms
if [ "$command" = status ]; then
    for place in "$tree/${module:-*}/${version:-*}"; do
        for added in $place; do
            [ -d "$added" ] || continue
            name=${added#"$tree"/}
            built=$(cd "$added" && ls -d ${kernel:-*} 2>/dev/null)
            [ -n "$built" ] || { [ -n "$kernel" ] || echo "$name: added"; continue; }
            for one in $built; do echo "$name, $one, $(uname -m): installed"; done
        done
    done
    exit 0
fi
source=/usr/src/$module-$version
case $command in
    add) mkdir -p "$tree/$module/$version" ;;
    remove)
        for built in "$tree/$module/$version"/*/; do
            rm -rf "/lib/modules/$(basename "$built")/updates/dkms/"*.ko
        done
        rm -rf "${tree:?}/$module/$version" ;;
    install)
        [ -f "/lib/modules/$kernel/build/Makefile" ] || {
            echo "Error! Your kernel headers for kernel $kernel cannot be found." >&2; exit 1; }
        . "$source/dkms.conf"
        [ -z "$PRE_INSTALL" ] || kernelver=$kernel sh "$source/$PRE_INSTALL"
        mkdir -p "$tree/$module/$version/$kernel" "/lib/modules/$kernel/updates/dkms"
        cp "$source/stand-in.ko" "/lib/modules/$kernel/updates/dkms/${BUILT_MODULE_NAME}.ko"
        [ -z "$POST_INSTALL" ] || kernelver=$kernel sh "$source/$POST_INSTALL"
        depmod "$kernel" ;;
esac
"""


def packages(release: Release) -> list[Package]:
    """Two kernels in one package, the headers of each, and DKMS; none where none are known."""
    kernels = KERNELS.get(release.platform.rpartition("-")[0], ())
    if not kernels:
        return []
    images = {
        f"/usr/lib/modules/{kernel}/{name}": text("")
        for kernel in kernels
        for name in ("modules.builtin", "modules.order")
    }
    return [
        Package(name="stand-in-kernels", version="1", files=images),
        Package(name="dkms", version="99", files={"/usr/sbin/dkms": program(_DKMS)}),
        *[_headers(release.family, kernel) for kernel in kernels],
    ]


def source(module: str, built: str, version: str, scripts: dict[str, str]) -> dict[str, File]:
    """Files of a package that DKMS compiles; `scripts` are the settings that name one."""
    folder = f"/usr/src/{module}-{version}"
    settings = [f"PACKAGE_NAME={module}", f"PACKAGE_VERSION={version}"]
    settings += [f"BUILT_MODULE_NAME={built}"]
    settings += [f"{setting}={setting.lower()}" for setting in scripts]
    return {
        f"{folder}/dkms.conf": text("\n".join(settings) + "\n"),
        f"{folder}/stand-in.ko": compiled(_MODULE % (version, built)),
        **{f"{folder}/{setting.lower()}": text(script) for setting, script in scripts.items()},
    }


_MODULE = """
static const char version[] __attribute__((section(".modinfo"), used)) = "version=%s";
static const char name[] __attribute__((section(".modinfo"), used)) = "name=%s";
"""


def _headers(family: str, kernel: str) -> Package:
    sources = f"/usr/src/{'linux-headers-' if family == 'apt' else 'kernels/'}{kernel}"
    files = {
        f"{sources}/Makefile": text("modules:\n"),
        f"/usr/lib/modules/{kernel}/build": link(sources),
    }
    if family == "apt":
        return Package(name=f"linux-headers-{kernel}", version="1", files=files)
    return Package(
        name="kernel-devel",
        version=kernel.partition("-")[0],
        provides=(f"kernel-devel-uname-r = {kernel}", "installonlypkg(kernel)"),
        files=files,
    )
