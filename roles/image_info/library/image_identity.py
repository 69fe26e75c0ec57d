#!/usr/bin/python
"""Ansible module: the file in which an image says what it is."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: image_identity
short_description: Writes the identity file of an image
description:
  - Merges the components that roles have recorded, as they observed them, into one JSON file.
  - Fails, writing nothing, if a component has another version than the stack says. A package
    manager may install another version than the pinned one without a word.
options:
  path: {description: The identity file., type: path, required: true}
  components: {description: Folder of the recorded components., type: path, required: true}
  identity: {description: The other keys of the file., type: dict, required: true}
  versions:
    description: Stack's versions, `<component>_release` to version. A prefix that ends at a
      separator is enough, since distributions add their own revision.
    type: dict
    required: true
author: [Bakehouse]
"""

EXAMPLES = r"""
- name: Write the identity file
  image_identity:
    path: /etc/bakehouse/image.json
    components: /etc/bakehouse/components.d
    identity: {image: cpu}
    versions: {python_release: "3.11"}
"""

RETURN = r"""
components:
  description: Names of the components that were found.
  type: list
  returned: success
"""


def same_version(observed: str, promised: str) -> bool:
    """Whether `promised` is `observed`, or a prefix of it that ends at a separator."""
    return observed == promised or re.match(re.escape(promised) + r"[.+~-]", observed) is not None


def read_components(folder: Path) -> list[dict[str, object]]:
    """The recorded components, by name."""
    paths = sorted(folder.glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def differences(components: list[dict[str, object]], versions: dict[str, str]) -> list[str]:
    """What the stack says of a component and the image does not hold."""
    found = []
    for component in components:
        record = str(component.get("record") or f"{component['component']}_release")
        promised = versions.get(record)
        observed = str(component["version"])
        if promised is not None and not same_version(observed, promised):
            told = f"the stack says {promised}, the image has {observed}"
            found.append(f"{component['component']}: {told}")
    return found


def write_whole(path: Path, text: str) -> None:
    """Replace a file at once, so that nobody reads half of it."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    Path(temporary).chmod(0o644)
    Path(temporary).replace(path)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "components": {"type": "path", "required": True},
            "identity": {"type": "dict", "required": True},
            "versions": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    components = read_components(Path(module.params["components"]))
    wrong = differences(components, module.params["versions"])
    if wrong:
        module.fail_json(msg="this image is not what its stack promises: " + "; ".join(wrong))
    content = {**module.params["identity"], "components": components}
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    path = Path(module.params["path"])
    present = path.read_text(encoding="utf-8") if path.exists() else None
    changed = present != text
    if changed and not module.check_mode:
        write_whole(path, text)
    module.exit_json(changed=changed, components=[c["component"] for c in components])


if __name__ == "__main__":
    main()
