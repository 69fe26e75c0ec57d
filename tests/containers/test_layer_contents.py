"""What the host lends to a build is seen by the roles, and is in no layer."""

import layer_scan
import pytest
from tiny_tree import Tree

from bakehouse import engine
from bakehouse.builder import build_image

pytestmark = pytest.mark.docker

BASE = "bakehouse/debian-12:latest"
PASSWORD = "hunter2-of-the-index"
PROXY_PASSWORD = "hunter2-of-the-proxy"
AUTHORITY = "MIIBszCCAVmgAwIBAgIUtestsOfBakehouse"

MIRROR_PASSWORD = "hunter2-of-the-mirror"
SECRETS = (PASSWORD, PROXY_PASSWORD, AUTHORITY, MIRROR_PASSWORD)

PROBING = f"""\
- name: Look at what the host lends
  ansible.builtin.shell: cat "$PIP_CONFIG_FILE" "$PIP_CERT" "$SSL_CERT_FILE" && echo "$http_proxy"
  changed_when: false
  register: seen

- name: See all of it
  ansible.builtin.assert:
    that:
      - "'{PASSWORD}' in seen.stdout"
      - "'{AUTHORITY}' in seen.stdout"
      - "'{PROXY_PASSWORD}' in seen.stdout"
      - "'{MIRROR_PASSWORD}' in bakehouse_mirrors['https://vendor.example/']"
"""
LEAKING = """\
- name: Leave all kinds of things behind
  ansible.builtin.shell: |
    mkdir -p /root/.ansible/tmp /root/.cache/pip /var/cache/bakehouse
    touch /root/.ansible/tmp/x /root/.cache/pip/y
    cp "$PIP_CONFIG_FILE" /etc/pip.conf
    cp "$SSL_CERT_FILE" /opt/ca.pem
    touch /etc/apt/apt.conf.d/99proxy /root/.netrc
  changed_when: true
"""


@pytest.fixture
def lending_tree(tree: Tree) -> Tree:
    """A tree on a host with a private index, a proxy, an authority, and mirrors."""
    authority = tree.root / "authority.pem"
    authority.write_text(f"-----BEGIN CERTIFICATE-----\n{AUTHORITY}\n-----END CERTIFICATE-----\n")
    mirrors = tree.root / "mirrors.yml"
    mirrors.write_text(f"---\nhttps://vendor.example/: http://mirror.example/{MIRROR_PASSWORD}/\n")
    tree.environment = {
        "PIP_INDEX_URL": f"http://somebody:{PASSWORD}@127.0.0.1:9/simple",
        "PIP_CERT": str(authority),
        "SSL_CERT_FILE": str(authority),
        "http_proxy": f"http://somebody:{PROXY_PASSWORD}@127.0.0.1:9",
        "no_proxy": "*",
        "BAKEHOUSE_MIRRORS": str(mirrors),
    }
    return tree


def test_roles_see_what_the_host_lends_and_no_layer_keeps_it(lending_tree: Tree) -> None:
    lending_tree.role("two", PROBING)
    finished = lending_tree.build()
    assert finished.status == 0, finished.stderr
    assert layer_scan.findings(lending_tree.reference, BASE, SECRETS) == []
    remembered = layer_scan.configuration(lending_tree.reference) + engine.built_commands()
    assert [secret for secret in SECRETS if secret in remembered] == []
    assert not any(lending_tree.state.joinpath("host").iterdir())


def test_what_the_host_lends_decides_no_layer(lending_tree: Tree) -> None:
    assert lending_tree.build().status == 0
    lending_tree.environment = {}
    assert all(layer["cached"] for layer in lending_tree.plan().values())


@pytest.fixture(scope="module")
def leaks(built_tree: Tree) -> str:
    """Findings in an image of a role that leaks on purpose."""
    built_tree.environment = {"PIP_INDEX_URL": f"http://somebody:{PASSWORD}@127.0.0.1:9/simple"}
    built_tree.role("leaky", LEAKING)
    finished = built_tree.build()
    assert finished.status == 0, finished.stderr
    return "\n".join(layer_scan.findings(built_tree.reference, BASE, SECRETS))


@pytest.mark.parametrize(
    "finding",
    [
        "Ansible: root/.ansible/tmp/x",
        "a cache of pip: root/.cache/pip/y",
        "a configuration of pip: etc/pip.conf",
        "a secret: etc/pip.conf",
        "proxies of apt: etc/apt/apt.conf.d/99proxy",
        "credentials: root/.netrc",
    ],
)
def test_the_scan_finds_what_a_role_leaks(leaks: str, finding: str) -> None:
    """The layers of the tests' other roles, which leak nothing, stay without findings."""
    assert f"layer 3: {finding}" in leaks
    assert not any(f"layer {number}:" in leaks for number in (0, 1, 2))


def test_no_layer_of_the_real_base_image_has_anything_of_the_builder() -> None:
    build_image("cpu")
    assert layer_scan.findings("bakehouse/cpu:latest", BASE) == []
