#!/usr/bin/python
"""Ansible module: the file in which an image says what it is."""

from __future__ import annotations

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

import glob
import json
import os
import re
import tempfile

from ansible.module_utils.basic import AnsibleModule


def same_version(observed: str, promised: str) -> bool:
    """Whether `promised` is `observed`, or a prefix of it that ends at a separator."""
    return observed == promised or re.match(re.escape(promised) + r"[.+~-]", observed) is not None


def read_components(folder: str) -> list[dict[str, object]]:
    """The recorded components, by name."""
    found = []
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        with open(path, encoding="utf-8") as stream:
            found.append(json.load(stream))
    return found


def differences(components: list[dict[str, object]], versions: dict[str, str]) -> list[str]:
    """What the stack says of a component and the image does not hold."""
    found = []
    for component in components:
        promised = versions.get("{0}_release".format(component["component"]))
        observed = str(component["version"])
        if promised is not None and not same_version(observed, promised):
            found.append(
                "{0}: the stack says {1}, the image has {2}".format(
                    component["component"], promised, observed
                )
            )
    return found


def write_whole(path: str, text: str) -> None:
    """Replace a file at once, so that nobody reads half of it."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path))
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)


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
    components = read_components(module.params["components"])
    wrong = differences(components, module.params["versions"])
    if wrong:
        module.fail_json(msg="this image is not what its stack promises: " + "; ".join(wrong))
    content = {**module.params["identity"], "components": components}
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    path = module.params["path"]
    present = None
    if os.path.exists(path):
        with open(path, encoding="utf-8") as stream:
            present = stream.read()
    changed = present != text
    if changed and not module.check_mode:
        write_whole(path, text)
    module.exit_json(changed=changed, components=[c["component"] for c in components])


if __name__ == "__main__":
    main()
