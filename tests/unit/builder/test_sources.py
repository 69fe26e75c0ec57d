"""A test case's source: fetched by the host, verified by its commit, given to its build."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import git_archives
import pytest
import servers
from git_archives import Committed
from servers import Server

from bakehouse import layout
from bakehouse.builder import context, sources
from bakehouse.builder.plan import case_layer
from bakehouse.builder.supply import Supply
from bakehouse.errors import DownloadError
from bakehouse.stacks import stack
from bakehouse.stacks.records import SourceRecord
from bakehouse.stacks.stack import Stack, load_stack

CASE, VENDOR = "cpu-ddp", "https://vendor.example/"


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Committed:
    return git_archives.commit(tmp_path_factory.mktemp("git") / "repository")


@pytest.fixture
def of_source(committed: Committed) -> Stack:
    """The stack cpu, with a record of a source for a test case."""
    loaded = load_stack("cpu")
    name = stack.source_of_case(CASE)
    record = {
        "version": committed.commit,
        "url": f"{VENDOR}tool/archive/{committed.commit}.tar.gz",
        "git_tree": committed.tree,
    }
    return replace(
        loaded,
        records={**loaded.records, name: SourceRecord.model_validate(record)},
        document=replace(loaded.document, data={**loaded.variables, name: record}),
    )


@pytest.fixture
def vendor(
    committed: Committed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """A mirror that BAKEHOUSE_MIRRORS names, with the archive; nobody waits for it for long."""
    monkeypatch.setattr(layout, "STATE", tmp_path / "state")
    monkeypatch.setattr("time.sleep", lambda _: None)
    with servers.serving() as server:
        server.files[f"/mirror/tool/archive/{committed.commit}.tar.gz"] = committed.archive
        mirrors = tmp_path / "mirrors.yml"
        mirrors.write_text(json.dumps({VENDOR: f"http://{server.address}/mirror/"}))
        monkeypatch.setenv("BAKEHOUSE_MIRRORS", str(mirrors))
        yield server


@pytest.mark.usefixtures("vendor")
def test_it_comes_from_the_mirror_that_the_host_names(
    of_source: Stack, committed: Committed
) -> None:
    archive = sources.prepare(of_source, CASE)
    assert archive is not None
    assert archive.read_bytes() == committed.archive
    assert archive.is_relative_to(layout.STATE)


def test_what_is_there_is_not_asked_for_again(of_source: Stack, vendor: Server) -> None:
    first = sources.prepare(of_source, CASE)
    assert len(vendor.asked) == 1
    assert sources.prepare(of_source, CASE) == first
    assert len(vendor.asked) == 1


def test_what_was_altered_at_its_place_is_fetched_again(
    of_source: Stack, vendor: Server, committed: Committed
) -> None:
    archive = sources.prepare(of_source, CASE)
    assert archive is not None
    archive.write_bytes(b"something else")
    sources.prepare(of_source, CASE)
    assert len(vendor.asked) == 2
    assert archive.read_bytes() == committed.archive


def test_another_tree_is_refused_naming_both_and_leaves_nothing(
    of_source: Stack, vendor: Server, committed: Committed, tmp_path: Path
) -> None:
    other = git_archives.commit(tmp_path / "other", **{"a/one": "changed\n"})
    (path,) = vendor.files
    vendor.files[path] = other.archive
    with pytest.raises(DownloadError) as caught:
        sources.prepare(of_source, CASE)
    told = f"wrong git tree: expected {committed.tree}, found {other.tree}"
    assert told in caught.value.what
    assert "do not use this file" in caught.value.remedy
    assert not list(layout.STATE.rglob("*.tar.gz*"))


@pytest.mark.parametrize("host_knows_a_mirror", [True, False])
def test_what_cannot_be_had_is_told_with_the_way_out(
    of_source: Stack,
    vendor: Server,
    monkeypatch: pytest.MonkeyPatch,
    *,
    host_knows_a_mirror: bool,
) -> None:
    vendor.files.clear()
    if not host_knows_a_mirror:
        monkeypatch.delenv("BAKEHOUSE_MIRRORS")
    with pytest.raises(DownloadError) as caught:
        sources.prepare(of_source, CASE)
    assert f"the source of the test case {CASE} cannot be had" in caught.value.what
    assert (vendor.address if host_knows_a_mirror else VENDOR) in caught.value.where
    assert "BAKEHOUSE_MIRRORS" in caught.value.remedy
    assert not list(layout.STATE.rglob("*.tar.gz*"))


def test_a_case_without_a_source_record_asks_nobody(vendor: Server) -> None:
    assert sources.prepare(load_stack("cpu"), CASE) is None
    assert vendor.asked == []


@pytest.fixture
def supply(tmp_path: Path) -> Iterator[Supply]:
    """A bundle that has nothing yet."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    with ExitStack() as resources:
        yield Supply(
            name="bundle",
            digest="",
            sources={},
            address="http://127.0.0.1:1",
            folder=folder,
            resources=resources,
        )


def test_a_bundle_stands_in_for_every_other_place(
    of_source: Stack, vendor: Server, committed: Committed, supply: Supply
) -> None:
    assert supply.folder is not None
    with pytest.raises(DownloadError, match="the bundle lacks a file that is needed"):
        sources.prepare(of_source, CASE, supply)
    place = supply.folder / f"https/vendor.example/tool/archive/{committed.commit}.tar.gz"
    place.parent.mkdir(parents=True)
    place.write_bytes(committed.archive)
    assert sources.prepare(of_source, CASE, supply)
    assert vendor.asked == []


@pytest.mark.usefixtures("vendor")
def test_the_build_finds_it_beside_the_dockerfile(of_source: Stack, committed: Committed) -> None:
    archive = sources.prepare(of_source, CASE)
    folder = context.write_case(CASE, case_layer(CASE, of_source, "below"), [], [], archive)
    assert (folder / "source.tar.gz").read_bytes() == committed.archive
    shutil.rmtree(folder)


def test_another_commit_is_another_layer(of_source: Stack) -> None:
    name = stack.source_of_case(CASE)
    before = case_layer(CASE, of_source, "below").key
    changed = {**of_source.variables[name], "git_tree": "0" * 40}
    variables = {**of_source.variables, name: changed}
    other = replace(of_source, document=replace(of_source.document, data=variables))
    assert before not in {
        case_layer(CASE, other, "below").key,
        case_layer(CASE, load_stack("cpu"), "below").key,
    }
