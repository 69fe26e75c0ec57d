"""Python as the dnf family has it: the interpreter is there, its packages are not."""

from vendor_mirror.offer import Package, Release


def distribution(release: Release) -> list[Package]:
    """Empty packages, in place of which the stand-in has Debian's."""
    if release.family != "dnf":
        return []
    names = (release.package, f"{release.package}-pip")
    return [Package(name=name, version=release.version) for name in names]
