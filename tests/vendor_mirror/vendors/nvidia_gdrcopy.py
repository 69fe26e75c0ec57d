"""GDRCopy as the archive of a tag: what its Makefile installs, made before.

Targets, variables, names and paths: github.com/NVIDIA/gdrcopy/blob/v2.6/Makefile, tests/Makefile,
src/gdrdrv/Makefile.
"""

from vendor_mirror.kernels import module_object
from vendor_mirror.offer import (
    Files,
    Release,
    library,
    linked_program,
    program,
    text,
)

TESTS = ("apiperf", "copybw", "copylat", "pplat", "sanity")
MAKEFILE = """\
prefix ?= /usr/local
CUDA ?= /usr/local/cuda
lib_install:
\tmkdir -p $(prefix)/lib $(prefix)/include
\tinstall -m 755 made/libgdrapi.so $(prefix)/lib/libgdrapi.so.{full}
\tinstall -m 664 include/gdrapi.h $(prefix)/include
\tln -sf libgdrapi.so.{full} $(prefix)/lib/libgdrapi.so.{major}
\tln -sf libgdrapi.so.{major} $(prefix)/lib/libgdrapi.so
exes_install:
\ttest -x $(CUDA)/bin/nvcc
\tmkdir -p $(prefix)/bin
\tfor name in {tests}; do \\
\t  install -m 755 made/stand_in $(prefix)/bin/gdrcopy_$$name || exit 1; \\
\t  ln -sf gdrcopy_$$name $(prefix)/bin/$$name; done
"""
SOURCE = """
void gdr_runtime_get_version(int *major, int *minor) {{ *major = {}; *minor = {}; }}
"""
PROGRAM = """
#include <stdio.h>
void gdr_runtime_get_version(int *, int *);
int main(void) {
    int major, minor;
    gdr_runtime_get_version(&major, &minor);
    printf("stands in, libgdrapi %d.%d\\n", major, minor);
    return 0;
}
"""


def archive(release: Release) -> Files:
    """The source, ready to be built."""
    top = f"gdrcopy-{release.version}"
    major, minor, *patch = release.version.split(".")
    full = f"{major}.{minor}"
    made = library(SOURCE.format(major, minor), f"-Wl,-soname,libgdrapi.so.{major}")
    return {
        f"{top}/Makefile": text(MAKEFILE.format(full=full, major=major, tests=" ".join(TESTS))),
        f"{top}/include/gdrapi.h": text("/* stands in */\n"),
        f"{top}/made/libgdrapi.so": made,
        f"{top}/made/stand_in": linked_program(PROGRAM, gdrapi=made),
        f"{top}/packages/build-deb-packages.sh": text(f"PATCH_VERSION={''.join(patch)}\n"),
        f"{top}/scripts/test_gdrdrv_HAVE_PROC_OPS.sh": program("echo y"),
        f"{top}/src/gdrdrv/Makefile": text("all:\n"),
        # What the stand-in for DKMS installs.
        f"{top}/src/gdrdrv/gdrdrv.ko": module_object("gdrdrv", full),
    }
