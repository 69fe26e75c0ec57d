"""bump and lock of Python records: the closure, its digests, and an index that lies."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping

import pytest
import servers
from servers import Server
from stack_tree import StackTree

from bakehouse.errors import DownloadError
from bakehouse.stacks import python_index
from bakehouse.stacks.python_index import Wheel


def digest(name: str, version: str, build: str = "") -> str:
    return hashlib.sha256(f"{name} {version} {build}".encode()).hexdigest()


def wheel(name: str, version: str, build: str = "") -> Wheel:
    tag = build or "py3-none-any"
    filename = f"{name}-{version}-{tag}.whl"
    return Wheel(name=name, version=version, filename=filename, sha256=digest(name, version, build))


def entry(name: str, version: str, *builds: str, comment: str = "") -> str:
    lines = sorted(digest(name, version, build) for build in builds or [""])
    digests = "".join(f"        - {line}\n" for line in lines)
    return f'    - name: {name}\n      version: "{version}"{comment}\n      sha256:\n{digests}'


HEAD = '---\npytorch_release:   # the CPU build\n  version: "{}"\n  requirements:\n'
TAIL = '\n# Another record.\ncpu_ddp_release:\n  version: "1"\n  requirements:\n'
OTHER = TAIL + entry("scikit-learn", "1") + entry("numpy", "2.0")
OLD = (
    HEAD.format("1.0")
    + entry("torch", "1.0")
    + entry("filelock", "3.0", comment="  # stays")
    + entry("sympy", "1.0")
    + entry("numpy", "2.0")
    + OTHER
)
CLOSURE = {"torch": "2.0", "filelock": "3.0", "numpy": "2.0", "triton": "3.0"}
NEW = (
    HEAD.format("2.0")
    + entry("torch", "2.0", "cp311", "cp312")
    + entry("filelock", "3.0", comment="  # stays")
    + entry("numpy", "2.0")
    + entry("triton", "3.0")
    + OTHER
)

Resolve = Callable[..., list[Wheel]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, str]]:
    """An index with torch 2.0; the constraints that the resolver was given."""
    given: list[Mapping[str, str]] = []

    def resolve(
        requirement: str, *, index: str | None, constraints: Mapping[str, str]
    ) -> list[Wheel]:
        del index
        given.append(constraints)
        if requirement != "torch==2.0" or constraints.get("triton", "3.0") != "3.0":
            raise DownloadError(f"there is no {requirement}")
        return [wheel(name, version) for name, version in CLOSURE.items()]

    def published(pins: Mapping[str, str], _index: str | None) -> dict[str, list[Wheel]]:
        found = {name: [wheel(name, version)] for name, version in pins.items()}
        if "torch" in pins:
            found["torch"] = [wheel("torch", pins["torch"], b) for b in ("cp311", "cp312")]
        return found

    monkeypatch.setattr(python_index, "resolve", resolve)
    monkeypatch.setattr(python_index, "published", published)
    return given


def test_the_closure_changes_and_what_stays_in_it_stays_as_it_was_written(
    tree: StackTree, asked: list[Mapping[str, str]]
) -> None:
    tree.cpu.write_text(OLD)
    done = tree.run("stack", "bump", "cpu", "pytorch_release", "2.0")
    assert done.returncode == 0, done.stderr
    assert tree.cpu.read_text() == NEW
    assert asked == [{"filelock": "3.0", "sympy": "1.0", "numpy": "2.0", "scikit-learn": "1"}], (
        "what is there, and what other records pin"
    )


def test_what_cannot_stay_gives_way_but_not_other_records(
    tree: StackTree, asked: list[Mapping[str, str]]
) -> None:
    tree.cpu.write_text(OLD.replace(entry("sympy", "1.0"), entry("triton", "2.0")))
    done = tree.run("stack", "bump", "cpu", "pytorch_release", "2.0")
    assert done.returncode == 0, done.stderr
    assert tree.cpu.read_text() == NEW
    assert asked[1] == {"scikit-learn": "1", "numpy": "2.0"}
    assert "triton 2.0 → 3.0, too" in done.stderr


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("options", [["3.0"], ["2.0", "--dry-run"]])
def test_a_version_that_is_not_there_and_a_dry_run_write_nothing(
    tree: StackTree, options: list[str]
) -> None:
    tree.cpu.write_text(OLD)
    done = tree.run("stack", "bump", "cpu", "pytorch_release", *options)
    assert done.returncode == (4 if options == ["3.0"] else 0)
    assert ("there is no torch==3.0" in done.stderr) == (options == ["3.0"])
    assert ("+    - name: triton" in done.stdout) == (options != ["3.0"])
    assert tree.cpu.read_text() == OLD


@pytest.mark.usefixtures("asked")
def test_a_closure_that_breaks_a_rule_is_refused_unless_one_insists(
    tree: StackTree,
) -> None:
    tree.cpu.write_text(OLD.replace(OTHER, TAIL + entry("scikit-learn", "1")))
    before = tree.cpu.read_text()
    rule = (
        "rules: [{id: old-triton, title: t, require: {pytorch_release/triton: '<3'},"
        " reason: r, source: 'https://x.example'}]\n"
    )
    (tree.root / "stacks" / "constraints.yml").write_text(rule)
    done = tree.run("stack", "bump", "cpu", "pytorch_release", "2.0")
    assert done.returncode == 2
    assert "old-triton: pytorch_release/triton is 3.0, must be <3" in done.stderr
    assert "--allow-broken" in done.stderr
    assert tree.cpu.read_text() == before
    done = tree.run("stack", "bump", "cpu", "pytorch_release", "2.0", "--allow-broken")
    assert done.returncode == 0
    assert "WARNING: the stack now breaks old-triton" in done.stderr
    assert "name: triton" in tree.cpu.read_text()


@pytest.mark.usefixtures("asked")
def test_lock_adds_digests_that_are_missing_and_keeps_the_others(tree: StackTree) -> None:
    one = f"        - {digest('torch', '2.0', 'cp312')}\n"
    none = f"      sha256:\n        - {digest('triton', '3.0')}\n"
    assert NEW.count(one) == NEW.count(none) == 1
    tree.cpu.write_text(NEW.replace(one, "").replace(none, ""))
    done = tree.run("stack", "lock", "cpu", "pytorch_release")
    assert done.returncode == 0, done.stderr
    assert tree.cpu.read_text() == NEW
    assert "pytorch_release/torch: recorded 1" in done.stderr
    assert "pytorch_release/triton: recorded 1" in done.stderr
    assert "pytorch_release/filelock: verified" in done.stderr


def test_two_records_that_pin_two_versions_of_one_package_are_refused(tree: StackTree) -> None:
    tree.cpu.write_text(OLD.replace(OTHER, TAIL + entry("scikit-learn", "1") + entry("numpy", "3")))
    done = tree.run("stack", "check", "cpu")
    assert done.returncode == 2
    line = tree.cpu.read_text().splitlines().index('      version: "3"') + 1
    where = f"{tree.cpu}:{line}: cpu_ddp_release.requirements.1.version"
    assert f"{where}: numpy is pinned to 3 here, and to 2.0 in pytorch_release" in done.stderr


def package(name: str, version: str, *needs: str) -> bytes:
    """A wheel with nothing in it."""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {need}\n" for need in needs)
    about = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"{name}-{version}.dist-info/METADATA", metadata)
        archive.writestr(f"{name}-{version}.dist-info/WHEEL", about)
        archive.writestr(f"{name}-{version}.dist-info/RECORD", "")
    return content.getvalue()


PACKAGES = {
    "torch-2.0-py3-none-any.whl": package("torch", "2.0", "filelock"),
    "filelock-3.0-py3-none-any.whl": package("filelock", "3.0"),
    "filelock-4.0-py3-none-any.whl": package("filelock", "4.0"),
}


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A real index, the only one that pip asks."""
    with servers.serving() as server:
        for filename, content in PACKAGES.items():
            sha256 = hashlib.sha256(content).hexdigest()
            page = f"/simple/{filename.split('-')[0]}/"
            link = f'<a href="/files/{filename}#sha256={sha256}">{filename}</a>'.encode()
            server.files[page] = server.files.get(page, b"<!DOCTYPE html>") + link
            server.types[page] = "text/html"
            server.files[f"/files/{filename}"] = content
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://{server.address}/simple/")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
            monkeypatch.delenv(name, raising=False)
        yield server


@pytest.mark.usefixtures("index")
def test_pip_finds_the_closure_within_its_constraints() -> None:
    found = python_index.resolve("torch==2.0", constraints={"filelock": "3.0"})
    filenames = ["torch-2.0-py3-none-any.whl", "filelock-3.0-py3-none-any.whl"]
    assert [item.filename for item in found] == filenames
    digests = [hashlib.sha256(PACKAGES[name]).hexdigest() for name in filenames]
    assert [item.sha256 for item in found] == digests


def test_a_wheel_with_one_flipped_byte_is_refused(index: Server) -> None:
    index.flip("/files/torch-2.0-py3-none-any.whl")
    with pytest.raises(DownloadError) as refused:
        python_index.resolve("torch==2.0")
    content = PACKAGES["torch-2.0-py3-none-any.whl"]
    assert hashlib.sha256(content).hexdigest() in str(refused.value), "what was expected"
