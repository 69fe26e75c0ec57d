"""The only module that talks to docker: the SDK for containers, its command line for BuildKit."""

import ipaddress
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from socket import SHUT_WR
from threading import Thread
from typing import Any
from uuid import uuid4

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.models.images import Image
from docker.models.networks import Network
from docker.types import DeviceRequest
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import ReadTimeout

from bakehouse import owner
from bakehouse.errors import CheckError, DownloadError, HostError

OWNER, owner_label = owner.OWNER, owner.owner_label
KEPT = "org.bakehouse.kept"
KEPT_BUILDS = 3
REGISTRY_SILENCE_S = 60
StartedContainer = Container  # for annotations elsewhere: no other module imports docker
CLIENTS = ("/usr/bin/docker", "/usr/local/bin/docker")
START_ENGINE = "run `make setup`, which installs and starts the Docker engine"


@cache
def connect() -> docker.DockerClient:
    """A client of the running engine.

    Raises:
        HostError: No engine answers, or this user may not use it.
    """
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        if "Permission denied" in str(error):
            raise HostError(
                "this user may not use the Docker engine",
                remedy="as root: usermod -aG docker $USER; then log in again",
            ) from error
        raise HostError(f"no Docker engine answers: {error}", remedy=START_ENGINE) from error
    return client


@cache
def buildkit_client() -> str:
    """Path of a docker command that can build with BuildKit.

    Docker 23 and later need the buildx plugin for that; 20.10 has it built in.

    Raises:
        HostError: There is none.
    """
    connect()
    candidates = [shutil.which("docker"), *CLIENTS]
    for path in dict.fromkeys(c for c in candidates if c and Path(c).exists()):
        version = _output(path, "version", "--format", "{{.Client.Version}}")
        if version and int(version.split(".")[0]) < 23:
            return path
        if version and _output(path, "buildx", "version"):
            return path
    raise HostError(
        "no docker command here can build with BuildKit",
        remedy="install the buildx plugin (docker-buildx) or Debian's docker.io",
    )


def image(reference: str) -> Image | None:
    """An image by name or id; None if the engine has none."""
    try:
        return connect().images.get(reference)
    except (ImageNotFound, NotFound):
        return None


def labels(reference: str) -> dict[str, str]:
    """Labels of an image; empty if there is none."""
    found = image(reference)
    return dict(found.labels) if found else {}


def tag(image_id: str, repository: str, *tags: str) -> None:
    """Give an image its names; what thereby has no name left is removed.

    The last few builds of a repository keep their names, to compare with or to go back to.
    """
    client = connect()
    target = client.images.get(image_id)
    before = [found for found in client.images.list(repository) if found.id != target.id]
    for name in tags:
        target.tag(repository, name)
    before.sort(key=lambda found: str(found.attrs["Created"]), reverse=True)
    for old in before[KEPT_BUILDS - 1 :]:
        for reference in image_tags(str(old.id)):
            if reference.rpartition(":")[0] == repository:
                with suppress(APIError):
                    client.images.remove(reference)
    for old in before:
        remove_if_unused(str(old.id))


def namespaces(head: str) -> set[str]:
    """First parts of the names of images that begin with a text."""
    found = connect().images.list(filters={"reference": f"{head}*/*"})
    return {tag.partition("/")[0] for image_ in found for tag in image_.tags}


def remove_namespace(name: str) -> None:
    """Remove all images whose names begin with `<name>/`; others keep what they share."""
    for found in connect().images.list(filters={"reference": f"{name}/*"}):
        for reference in found.tags:
            if reference.startswith(f"{name}/"):
                with suppress(APIError):
                    connect().images.remove(reference)


def pull(reference: str) -> str:
    """Pull an image by its digest; returns why no registry gave it, or nothing if it is here.

    Raises:
        DownloadError: A registry gave something else than the digest promises.
    """
    said = _said_by_registry(reference)
    if "verification failed" in said:
        raise DownloadError(
            f"a registry gave something else than was asked for: {said}",
            where=reference,
            remedy="correct the reference in images.yml, or find out who altered the image",
        )
    return said


def _said_by_registry(reference: str) -> str:
    """What went wrong in a pull; empty if nothing did."""
    client, events = connect(), SimpleQueue[Mapping[str, Any]]()

    def ask() -> None:
        try:
            # images.pull() reads over errors in the stream, then says only that there is no image.
            for event in client.api.pull(reference, stream=True, decode=True):
                events.put(event)
        except (DockerException, OSError) as error:
            events.put({"error": getattr(error, "explanation", None) or error})
        events.put({"ended": True})

    # The engine waits without end for a registry that says nothing, and the SDK for the engine.
    Thread(target=ask, daemon=True).start()
    with suppress(Empty):
        while "ended" not in (event := events.get(timeout=REGISTRY_SILENCE_S)):
            if "error" in event:
                return str(event["error"])
        return ""
    return f"it said nothing for {REGISTRY_SILENCE_S} s"


def image_tags(image_id: str) -> list[str]:
    """Names of an image; none if it is gone."""
    found = image(image_id)
    return list(found.tags) if found else []


def remove_if_unused(image_id: str) -> None:
    """Remove an image that has no name and no container; leave it otherwise."""
    found = image(image_id)
    if found is not None and not found.tags:
        with suppress(APIError):
            connect().images.remove(image_id)


def built_commands() -> str:
    """The commands whose results BuildKit still has, one a line."""
    records = connect().df().get("BuildCache") or []
    return "\n".join(str(record.get("Description", "")) for record in records)


def gpus(numbers: list[str] | None = None) -> list[DeviceRequest]:
    """What a container asks for to see GPUs, as `docker run --gpus` does: some, or all."""
    if numbers is None:
        return [DeviceRequest(count=-1, capabilities=[["gpu"]])]
    return [DeviceRequest(device_ids=numbers, capabilities=[["gpu"]])]


def sweep() -> list[str]:
    """Remove containers, networks and volumes whose process is gone; returns their names."""
    client = connect()
    removed = []
    for container in client.containers.list(all=True, filters={"label": OWNER}):
        if owner.is_orphan(container.labels):
            with suppress(NotFound, APIError):
                container.remove(force=True, v=True)
                removed.append(str(container.name))
    for kind in (client.networks, client.volumes):
        for thing in kind.list(filters={"label": OWNER}):
            if owner.is_orphan(thing.attrs.get("Labels") or {}):
                with suppress(NotFound, APIError):
                    thing.remove()
                    removed.append(str(thing.name))
    return removed


@contextmanager
def running_container(
    reference: str, command: list[str] | None = None, *, keep: bool = False, **options: Any
) -> Iterator[Container]:
    """A detached container, removed with its anonymous volumes at the end, whatever happens.

    Args:
        reference: Image.
        command: Defaults to the image's own.
        keep: Leave the container behind, for a person to look at.
        options: As for the SDK's `containers.run`.

    Raises:
        HostError: The image does not exist, or the container cannot start.
    """
    options.setdefault("detach", True)
    with _created(reference, command, keep=keep, **options) as container:
        _start(container)
        yield container


@contextmanager
def _created(
    reference: str, command: list[str] | None, *, keep: bool = False, **options: Any
) -> Iterator[Container]:
    wanted = {**_label(keep=keep), **options.pop("labels", {})}
    options.setdefault("name", f"bakehouse-{uuid4().hex[:12]}")
    container = None
    try:
        try:
            container = connect().containers.create(reference, command, labels=wanted, **options)
        except ImageNotFound as error:
            raise HostError(f"there is no image {reference}", remedy="build it first") from error
        except APIError as error:
            raise _cannot_start(options["name"], error) from error
        yield container
    finally:
        if container is not None and not keep:
            with suppress(NotFound):
                container.remove(force=True, v=True)


def _start(container: Container) -> None:
    try:
        container.start()
    except APIError as error:
        raise _cannot_start(str(container.name), error) from error


def _cannot_start(name: str, error: APIError) -> HostError:
    return HostError(
        f"the container {name} cannot start: {error.explanation}",
        remedy="see what the engine says there",
    )


def output(container: Container) -> Iterator[tuple[bytes | None, bytes | None]]:
    """Chunks of a container's standard output and standard error, until it ends."""
    yield from container.attach(stdout=True, stderr=True, stream=True, logs=True, demux=True)


def kill(container: Container) -> bool:
    """Send SIGKILL to all of a container; false if it had ended already."""
    try:
        container.kill()
    except APIError:
        return False
    return True


def endpoint(network_name: str, alias: str) -> dict[str, Any]:
    """Container options that join a network of ours under a host name."""
    settings = connect().api.create_endpoint_config(aliases=[alias])
    return {
        "network": network_name,
        "networking_config": {network_name: settings},
        "hostname": alias,
    }


def container(name: str) -> Container:
    """A container by name.

    Raises:
        HostError: There is none.
    """
    try:
        return connect().containers.get(name)
    except NotFound as error:
        raise HostError(f"there is no container {name}", remedy="see what removed it") from error


def remove_container(name: str) -> None:
    """Remove a container if it is there, with its anonymous volumes."""
    with suppress(NotFound):
        connect().containers.get(name).remove(force=True, v=True)


def bridge_address() -> str:
    """Address of this machine on the network in which containers and builds are by default."""
    settings = connect().networks.get("bridge").attrs["IPAM"]["Config"][0]
    network_of = ipaddress.ip_network(settings["Subnet"])
    return str(settings.get("Gateway") or next(network_of.hosts()))


def cgroup_mount() -> str:
    """How a container's systemd sees its control groups: read-only on version 1."""
    version = str(connect().info().get("CgroupVersion", "1"))
    return f"/sys/fs/cgroup:/sys/fs/cgroup:{'rw' if version == '2' else 'ro'}"


@contextmanager
def network(name: str, *, keep: bool = False) -> Iterator[Network]:
    """A bridge network of our own, removed at the end unless it is to be kept.

    Raises:
        HostError: The engine cannot make one.
    """
    try:
        made = connect().networks.create(name, labels=_label(keep=keep), check_duplicate=True)
    except APIError as error:
        raise HostError(
            f"the network {name} cannot be made: {error.explanation}",
            remedy="remove networks that nobody uses: docker network ls",
        ) from error
    try:
        yield made
    finally:
        if not keep:
            with suppress(NotFound):
                made.remove()


def build_command(
    context: Path, dockerfile: Path, iidfile: Path, options: list[str]
) -> tuple[list[str], Mapping[str, str]]:
    """The BuildKit command line and its environment; the image's id goes to `iidfile`.

    Raises:
        HostError: As `buildkit_client`.
    """
    command = [buildkit_client(), "build", "--progress=plain", "--iidfile", str(iidfile)]
    return [*command, *options, "-f", str(dockerfile), str(context)], {"DOCKER_BUILDKIT": "1"}


def output_of(reference: str, command: list[str]) -> str:
    """Standard output of a command in a throw-away container.

    Raises:
        HostError: The image does not exist or the command fails.
    """
    with running_container(reference, command, entrypoint=[]) as container:
        status = container.wait()["StatusCode"]
        text = container.logs(stdout=True, stderr=False).decode()
        if status != 0:
            raise HostError(
                f"{command[0]} ended with {status} in {reference}: {container.logs()!r}"
            )
        return text


def answer(reference: str, command: list[str], *, stdin: bytes, timeout_s: float) -> str:
    """Standard output of a command in a throw-away container without a network.

    Args:
        reference: Image.
        command: Program and arguments; the image's entry point is left out.
        stdin: What the program reads.
        timeout_s: Seconds after which the container is removed.

    Raises:
        HostError: The image does not exist, or has no such program.
        CheckError: The program fails or does not end in time.
    """
    # Not detached, so that the program's input ends where ours does.
    options: dict[str, Any] = {"network_mode": "none", "stdin_open": True, "detach": False}
    with _created(reference, command, entrypoint=[], **options) as container:
        # Before it starts: of a container that has ended already, an attachment waits for ever.
        socket: Any = container.attach_socket(params={"stdin": 1, "stream": 1})
        channel = getattr(socket, "_sock", socket)
        channel.settimeout(timeout_s)
        try:
            _start(container)
            with suppress(ConnectionError):  # it ended before it read all; its status tells more
                channel.sendall(stdin)
                channel.shutdown(SHUT_WR)
            status = int(container.wait(timeout=timeout_s)["StatusCode"])
        except (TimeoutError, ReadTimeout, RequestsConnectionError) as error:
            raise CheckError(
                f"{command[0]} did not end within {timeout_s:g} s", where=reference
            ) from error
        finally:
            socket.close()
        if status != 0:
            said = container.logs(tail=5).decode(errors="replace").strip()
            raise CheckError(f"{command[0]} ended with {status}: {said[-300:]}", where=reference)
        return str(container.logs(stdout=True, stderr=False, tail=100).decode(errors="replace"))


def _label(*, keep: bool) -> dict[str, str]:
    # Without the owner's label, sweep() leaves a thing alone.
    return {KEPT: "true"} if keep else owner_label()


def _output(*command: str) -> str:
    # The client prints its own version even where it cannot reach an engine.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
