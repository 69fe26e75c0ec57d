"""The source of enroot: the vendor's targets and the paths that they install, with nothing in them.

Targets, variables and paths: https://github.com/NVIDIA/enroot/blob/v4.1.2/Makefile
"""

from vendor_mirror.offer import Files, Package, Release, program, text

MAKEFILE = """\
FORCE_GLIBC ?=
DEPS := deps/dist/makeself/bin/enroot-makeself
.PHONY: install deps
install: deps
\t@test -n "$(FORCE_GLIBC)" && test -z "$(DEPS)" && test "$(LDLIBS)" = -lbsd
\tsh stand-in.sh "$(prefix)" "$(exec_prefix)" "$(datarootdir)"
deps:
\t@echo 'the archive has no submodules'; false
"""
INSTALL = """\
set -e
etc="$1/etc/enroot" bin="$2/bin" share="$3/enroot"
mkdir -p "$etc/enroot.conf.d" "$etc/hooks.d" "$share/hooks.d" "$bin"
install -m 755 enroot "$bin/enroot"
for helper in nsenter mksquashovlfs aufs2ovlfs; do
  install -m 755 /dev/null "$bin/enroot-$helper"
done
for hook in slurm-pmi slurm-pytorch; do
  install -m 755 /dev/null "$share/hooks.d/50-$hook.sh"
done
install -m 644 apparmor.profile "$share/apparmor.profile"
"""
PROFILE = "# stands in for the profile that has: allow userns create,\n"
PROGRAM = 'export ENROOT_VERSION="{version}"\ntest "$1" = version && echo "$ENROOT_VERSION"'


def archive(release: Release) -> Files:
    """As GitHub's archive of the tag is laid out."""
    top = f"enroot-{release.version}"
    return {
        f"{top}/Makefile": text(MAKEFILE),
        f"{top}/stand-in.sh": text(INSTALL),
        f"{top}/enroot": program(PROGRAM.format(version=release.version)),
        f"{top}/apparmor.profile": text(PROFILE),
    }


def distribution(release: Release) -> list[Package]:
    """What the role installs from Amazon's repositories."""
    if release.family != "dnf":
        return []
    names = ["libbsd-devel", "util-linux", "gawk", "jq", "parallel", "pigz"]
    names += ["squashfs-tools", "zstd"]
    getcap = {"/usr/sbin/getcap": program("true")}
    return [
        *(Package(name=name, version="1") for name in names),
        Package(name="libcap", version="1", files=getcap),
    ]
