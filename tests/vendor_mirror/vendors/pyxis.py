"""The source of Pyxis: the vendor's file names and targets, a small SPANK plugin of our own inside.

It really is compiled, and really is loaded by Slurm: it takes the option --container-image, and
tells the job of it in the environment instead of starting a container.
Targets and paths: https://github.com/NVIDIA/pyxis/blob/v0.24.0/Makefile
"""

from vendor_mirror.offer import Files, Release, text

MAKEFILE = """\
prefix ?= /usr/local
libdir ?= $(prefix)/lib
datadir ?= $(prefix)/share
PYXIS_VER ?= {version}
CPPFLAGS := -DPYXIS_VERSION=\\"$(PYXIS_VER)\\" $(CPPFLAGS)

.PHONY: all install clean
all: spank_pyxis.so

spank_pyxis.so: pyxis_dispatch.c
\t$(CC) -shared -fpic -Wall $(CPPFLAGS) -o $@ $<

install: all
\tinstall -d -m 755 $(DESTDIR)$(libdir)/slurm $(DESTDIR)$(datadir)/pyxis
\tinstall -m 644 spank_pyxis.so $(DESTDIR)$(libdir)/slurm
\techo 'required $(libdir)/slurm/spank_pyxis.so' > $(DESTDIR)$(datadir)/pyxis/pyxis.conf

clean:
\trm -f spank_pyxis.so
"""

SOURCE = """\
#include <stddef.h>
#include <string.h>

#include <slurm/spank.h>

SPANK_PLUGIN(pyxis, 1)

static const char *image;

static int take(int value, const char *argument, int remote)
{
    (void) value;
    (void) remote;
    image = strdup(argument);
    return 0;
}

struct spank_option spank_options[] = {
    {"container-image", "IMAGE", "[pyxis] stands in for the option of the same name", 1, 0, take},
    SPANK_OPTIONS_TABLE_END
};

int slurm_spank_init(spank_t spank, int argc, char **argv)
{
    (void) spank;
    slurm_debug("pyxis: version v" PYXIS_VERSION);
    return argc > 0 && argv ? 0 : -1;
}

int slurm_spank_user_init(spank_t spank, int argc, char **argv)
{
    (void) argc;
    (void) argv;
    return image ? spank_setenv(spank, "STAND_IN_IMAGE", image, 1) : 0;
}
"""


def archive(release: Release) -> Files:
    """As GitHub's archive of the tag is laid out."""
    top = f"pyxis-{release.version}"
    return {
        f"{top}/Makefile": text(MAKEFILE.format(version=release.version)),
        f"{top}/pyxis_dispatch.c": text(SOURCE),
    }
