"""What a build starts from: the stack, the base image's Python, the wheels that a layer needs."""

import json

from bakehouse import engine, layout
from bakehouse.builder import wheelhouse
from bakehouse.builder.plan import Layer
from bakehouse.builder.rootfs import content_digest_of
from bakehouse.errors import InputError
from bakehouse.images import Image, lineage
from bakehouse.stacks.records import PythonRecord, Requirement
from bakehouse.stacks.stack import Stack, load_stack


def stack_of(image: Image, override: str | None = None) -> Stack:
    """The stack that an image is built from: its own, or that of the image below.

    Raises:
        InputError: Neither has one.
    """
    for ancestor in reversed(lineage(image.name)):
        if ancestor.stack is not None:
            return load_stack(override or ancestor.stack)
    raise InputError(f"{image.name} has no stack", where=str(layout.IMAGES_FILE))


def interpreter_of(reference: str) -> wheelhouse.Interpreter:
    """The Python of an image, asked once per content."""
    digest = content_digest_of(reference)
    memory = layout.STATE / "interpreters" / f"{digest}.json"
    if not memory.is_file():
        question = (
            "import json,os,sys;print(json.dumps(dict("
            "version='%d.%d'%sys.version_info[:2],"
            "glibc=int(os.confstr('CS_GNU_LIBC_VERSION').split('.')[1]),machine=os.uname().machine)))"
        )
        answer = engine.output_of(reference, ["/usr/bin/python3", "-c", question])
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(answer, encoding="utf-8")
    return wheelhouse.Interpreter(**json.loads(memory.read_text(encoding="utf-8")))


def required(stack: Stack, layer: Layer) -> list[Requirement]:
    """The Python requirements that a layer installs from wheels."""
    records = [stack.records[name] for name in layer.wheels]
    return [r for rec in records if isinstance(rec, PythonRecord) for r in rec.requirements]
