"""EC2 as moto stands in for it, on loopback: remembers requests, and refuses what it is told to.

moto keeps neither block devices nor most options of what it is asked for: those are looked up in
the requests. No machine starts; Packer reaches a container of ours over a real ssh instead.
"""

import io
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import boto3
from moto.backends import get_backend
from moto.ec2.models.amis import Ami
from moto.ec2.utils import random_ami_id
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

REGION, COPY_REGION = "us-west-2", "eu-west-1"
ACCOUNT = "123456789012"
"""moto's."""

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}

REFUSAL = """<?xml version="1.0" encoding="UTF-8"?>
<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>
<RequestID>of-the-tests</RequestID></Response>"""


@dataclass
class Amazon:
    """A running server.

    Attributes:
        url: Its address.
        requests: Parameters of all requests to EC2, in order.
        refusals: What is answered to an action: status, code, message.
    """

    url: str = ""
    requests: list[dict[str, str]] = field(default_factory=list)
    refusals: dict[str, tuple[str, str, str]] = field(default_factory=dict)

    def ec2(self, region: str = REGION) -> "EC2Client":
        """A client."""
        return boto3.client(
            "ec2",
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def asked(self, action: str) -> list[dict[str, str]]:
        """Requests of one action."""
        return [request for request in self.requests if request.get("Action") == action]

    def reset(self) -> None:
        """Back to moto's beginning."""
        request = urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")
        urllib.request.urlopen(request).read()
        self.requests.clear()
        self.refusals.clear()

    def offer(self, name: str, architecture: str = "x86_64") -> str:
        """An AMI that Amazon offers; its id. moto's own are of base distributions only."""
        backend = get_backend("ec2")[ACCOUNT][REGION]
        ami = Ami(
            backend,
            random_ami_id(),
            name=name,
            owner_alias="amazon",
            owner_id="111122223333",
            architecture=architecture,
            virtualization_type="hvm",
            root_device_type="ebs",
            public=True,
        )
        backend.amis[ami.id] = ami
        return str(ami.id)

    def answering(self, application: Callable[..., Iterable[bytes]]) -> Callable[..., Any]:
        """The application, with what it is asked remembered and some of it refused."""

        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            request = dict(parse_qsl(body.decode(errors="replace")))
            self.requests.append(request)
            refusal = self.refusals.get(request.get("Action", ""))
            if refusal is None:
                return application(environ, start)
            status, code, message = refusal
            start(status, [("Content-Type", "text/xml")])
            return [REFUSAL.format(code=code, message=message).encode()]

        return answer


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_: Any) -> None:
        """Say nothing of each request."""


@contextmanager
def serving() -> Iterator[Amazon]:
    """EC2, with nothing of ours in it yet."""
    amazon = Amazon()
    application = amazon.answering(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)
    amazon.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield amazon
    finally:
        server.shutdown()
        thread.join()
