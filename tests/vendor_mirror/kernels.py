"""Kernels, their headers and DKMS, as a distribution has them; modules that take no time to build.

The stand-in for DKMS has the commands that roles and packages use. It wants headers where the real
one does, runs the scripts of the module's package, and installs an object that `modinfo` can read.
"""

from collections.abc import Mapping

from vendor_mirror.offer import File, Files, Package, Release, compiled, link, program, text

KERNELS = ("6.8.0-1001-aws", "6.8.0-1002-aws")
"""Two kernels of the apt family, in packages of their own."""

RPM_KERNELS = {"kernel": "6.1.140", "kernel6.12": "6.12.30"}
"""Two of Amazon Linux, by package; the later series has its number in the name."""

_OBJECT = """
#define STATED(name, text) \\
    static const char name[] __attribute__((section(".modinfo"), used)) = text
STATED(name, "name=%s"); STATED(version, "version=%s"); STATED(license, "license=none");
"""

# As DKMS 3: what is "built" lies in the sources. The record of a built module lists its objects.
# Unlike the real one it forgets the files of another version that it replaces.
_DKMS = r"""
command=$1; shift; module='*'; version='*'; kernel=
while [ $# -gt 0 ]; do
    case $1 in -m) module=$2; shift ;; -v) version=$2; shift ;; -k) kernel=$2; shift ;; esac
    shift
done
state=/var/lib/dkms; own=$state/$module/$version; sources=/usr/src/$module-$version
run() {
    script=$(sed -n "s/^$1=//p" "$sources/dkms.conf")
    [ -z "$script" ] || kernelver=$kernel sh "$sources/$script"
}
case $command in
add) mkdir -p "$own" ;;
status)
    for tree in $state/$module/$version; do
        [ -d "$tree" ] || continue
        shown=${tree#"$state"/}
        [ -n "$(ls "$tree")" ] || echo "$shown: added"
        for built in "$tree"/*; do
            [ ! -e "$built" ] || echo "$shown, ${built##*/}, $(uname -m): installed"
        done
    done ;;
install)
    [ -e "/lib/modules/$kernel/build/Makefile" ] || { echo "no headers of $kernel" >&2; exit 1; }
    run PRE_INSTALL
    mkdir -p "$own" "/lib/modules/$kernel/updates/dkms"
    rm -f $state/$module/*/"$kernel"
    cp "$sources"/*.ko "/lib/modules/$kernel/updates/dkms/"
    (cd "$sources" && ls -- *.ko) > "$own/$kernel"
    run POST_INSTALL
    depmod "$kernel" ;;
remove)
    for built in "$own"/*; do
        [ -e "$built" ] || continue
        while read -r object; do
            rm -f "/lib/modules/${built##*/}/updates/dkms/$object"
        done < "$built"
    done
    rm -r "$own" ;;
esac
"""


def distribution(release: Release) -> list[Package]:
    """Two kernels with their headers, DKMS, and what keeps versions on the dnf family."""
    # Packages with scripts need a shell, which rpm of the stand-in does not know of.
    shell = ("/bin/sh",) if release.family == "dnf" else ()
    files = {"/usr/sbin/dkms": program(_DKMS)}
    tool = Package(name="dkms", version="99", provides=shell, files=files)
    if release.family == "dnf":
        lock = Package(name="python3-dnf-plugin-versionlock", version="4.3.1")
        kernels = [
            package
            for name, version in RPM_KERNELS.items()
            for package in _kernel(name, f"{name}-devel", version, f"{version}-1.fixture.noarch")
        ]
        return [tool, lock, *kernels]
    named = [_kernel(f"linux-image-{k}", f"linux-headers-{k}", "6.8.0", k) for k in KERNELS]
    return [tool, *(package for pair in named for package in pair)]


def _kernel(image: str, headers: str, version: str, kernel_release: str) -> tuple[Package, Package]:
    """A kernel without a kernel, and its headers."""
    modules, sources = f"/usr/lib/modules/{kernel_release}", f"/usr/src/{kernel_release}"
    lists = {f"{modules}/modules.{kind}": text("") for kind in ("builtin", "order")}
    built = {f"{sources}/Makefile": text("all:\n"), f"{modules}/build": link(sources)}
    return (
        Package(name=image, version=version, files=lists),
        Package(name=headers, version=version, files=built),
    )


def module_sources(
    name: str, module: str, version: str, scripts: Mapping[str, str] | None = None
) -> Files:
    """Sources that DKMS knows, with what it is to build already built.

    Args:
        name: As DKMS has it.
        module: As the kernel has it.
        scripts: Shell commands by the setting that names their file, such as POST_INSTALL.
    """
    place = f"/usr/src/{name}-{version}"
    stated = [f'PACKAGE_NAME="{name}"', f'PACKAGE_VERSION="{version}"']
    stated += [f'BUILT_MODULE_NAME[0]="{module}"']
    stated += [f"{setting}={setting.lower()}" for setting in scripts or {}]
    return {
        f"{place}/dkms.conf": text("\n".join(stated) + "\n"),
        f"{place}/{module}.ko": module_object(module, version),
        **{f"{place}/{key.lower()}": text(script) for key, script in (scripts or {}).items()},
    }


def module_object(name: str, version: str) -> File:
    """An object file that tells name and version to modinfo."""
    return compiled(_OBJECT % (name, version))
