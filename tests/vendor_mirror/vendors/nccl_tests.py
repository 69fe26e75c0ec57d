"""nccl-tests as the archive of a tag: a folder with a Makefile, here of programs made before."""

from vendor_mirror.offer import Files, Release, linked_program, text
from vendor_mirror.vendors.nvidia_nccl import nccl

NAMES = ("all_reduce", "all_gather", "reduce_scatter", "alltoall", "sendrecv")
# With the names of variables that the real one has.
MAKEFILE = """BUILDDIR ?= build
all:
\ttest -x $(CUDA_HOME)/bin/nvcc
\tmkdir -p $(BUILDDIR)
\tfor name in $(NAMES); do \\
\t  cp programs/stand_in $(BUILDDIR)/$${name}_perf$(NAME_SUFFIX) || exit 1; done
"""
SOURCE = """
#include <stdio.h>
int ncclGetVersion(int *);
int main(void) {
    int version;
    ncclGetVersion(&version);
    printf("USAGE: stands in, NCCL %d\\n", version);
    return 1;
}
"""


def archive(release: Release) -> Files:
    """The source, ready to be built."""
    top = f"nccl-tests-{release.version}"
    version = f'#define NCCL_TESTS_VERSION "{release.version}"\n'
    return {
        f"{top}/Makefile": text(f"NAMES = {' '.join(NAMES)}\n{MAKEFILE}"),
        f"{top}/src/common.h": text(version),
        f"{top}/programs/stand_in": linked_program(SOURCE, nccl=nccl("2.0.0")),
    }
