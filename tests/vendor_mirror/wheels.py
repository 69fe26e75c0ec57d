"""Wheels that stand in for a vendor's, and the pages of the indexes that offer them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vendor_mirror import archives
from vendor_mirror.offer import File, digest, text

FIXTURE = "fixture"
PYPI = "pypi"
"""Folder of the index that stands in for the one of pip's own configuration."""

_METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
_WHEEL = "Wheel-Version: 1.0\nGenerator: stand-in\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A pure Python wheel; its version has the mark of the fixture as its local part.

    Attributes:
        version: The requirement's.
        modules: What it brings beside a module of its own name, by path.
        scripts: Programs, as `name = module:function`.
        vendors: Whether it is in the vendor's index, and not in the other.
    """

    name: str
    version: str
    modules: Mapping[str, str] = field(default_factory=dict)
    scripts: tuple[str, ...] = ()
    vendors: bool = True

    @property
    def module(self) -> str:
        """Its name as files write it."""
        return self.name.replace("-", "_")

    @property
    def full_version(self) -> str:
        """The version with the mark."""
        return f"{self.version}{'.' if '+' in self.version else '+'}{FIXTURE}"

    @property
    def filename(self) -> str:
        """As indexes name it."""
        return f"{self.module}-{self.full_version}-py3-none-any.whl"

    def content(self) -> bytes:
        """The wheel itself."""
        files = {f"{self.module}/__init__.py": f'__version__ = "{self.full_version}"\n'}
        files |= self.modules
        about = f"{self.module}-{self.full_version}.dist-info"
        entries = "\n".join(["[console_scripts]", *self.scripts]) + "\n"
        files |= {
            f"{about}/METADATA": _METADATA.format(name=self.name, version=self.full_version),
            f"{about}/WHEEL": _WHEEL,
            f"{about}/entry_points.txt": entries,
        }
        record = "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"])
        packed: dict[str, File] = {name: text(content) for name, content in files.items()}
        return archives.pack(packed | {f"{about}/RECORD": text(record)}, self.filename)


def index(wheels: Iterable[Wheel]) -> dict[str, bytes]:
    """Files of an index as PEP 503 describes it, by their path."""
    files: dict[str, bytes] = {}
    links: dict[str, list[str]] = defaultdict(list)
    for wheel in wheels:
        content = wheel.content()
        files[f"{wheel.name}/{wheel.filename}"] = content
        address = f"{wheel.filename.replace('+', '%2B')}#sha256={digest(content)}"
        links[wheel.name].append(f'<a href="{address}">{wheel.filename}</a><br>')
    pages = {f"{name}/index.html": "\n".join(part).encode() for name, part in links.items()}
    return files | pages
