"""Archives of trees, the same to the last bit on every machine."""

import gzip
import io
import tarfile
import zipfile

from vendor_mirror.offer import Files

EPOCH = 1_700_000_000


def pack(files: Files, name: str) -> bytes:
    """An archive of the kind that its name tells: zip, tar, or tar with gzip."""
    if name.endswith((".zip", ".whl")):
        return _zip(files)
    content = _tar(files)
    return gzip.compress(content, mtime=EPOCH) if name.endswith((".gz", ".tgz")) else content


def _tar(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, file in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.mtime, member.mode, member.size = EPOCH, file.mode, len(file.content)
            if file.link:
                member.type, member.linkname, member.size = tarfile.SYMTYPE, file.link, 0
            archive.addfile(member, io.BytesIO(file.content))
    return buffer.getvalue()


def _zip(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in sorted(files.items()):
            member = zipfile.ZipInfo(name, date_time=(2023, 11, 14, 22, 13, 20))
            member.external_attr = file.mode << 16
            archive.writestr(member, file.content)
    return buffer.getvalue()
