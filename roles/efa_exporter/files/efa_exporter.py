#!/usr/bin/python3
# Part of Bakehouse, under the Apache License 2.0.
"""Serves the hardware counters of Elastic Fabric Adapters to Prometheus.

Standard library only, Python 3.9 and newer. The counters are read when they are asked for: their
rates are exact, whatever the interval. A counter, a port or an adapter that cannot be read is
counted in efa_unreadable and does not hide the others.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

# Meanings: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/efa-working-monitor.html and
# drivers/infiniband/hw/efa/efa_verbs.c of the kernel.
MEANINGS = {
    "tx_bytes": "Bytes sent on the wire.",
    "tx_pkts": "Packets sent on the wire.",
    "rx_bytes": "Bytes received from the wire.",
    "rx_pkts": "Packets received from the wire.",
    "rx_drops": "Packets received and dropped.",
    "send_bytes": "Bytes of completed send requests.",
    "send_wrs": "Completed send requests.",
    "recv_bytes": "Bytes of completed receive requests.",
    "recv_wrs": "Completed receive requests.",
    "rdma_read_wrs": "Completed requests to read a peer's memory.",
    "rdma_read_bytes": "Bytes read from peers' memory.",
    "rdma_read_wr_err": "Failed requests to read a peer's memory.",
    "rdma_read_resp_bytes": "Bytes sent to peers that read this machine's memory.",
    "rdma_write_wrs": "Completed requests to write a peer's memory.",
    "rdma_write_bytes": "Bytes written to peers' memory.",
    "rdma_write_wr_err": "Failed requests to write a peer's memory.",
    "rdma_write_recv_bytes": "Bytes that peers wrote to this machine's memory.",
    "retrans_bytes": "Bytes sent again.",
    "retrans_pkts": "Packets sent again.",
    "retrans_timeout_events": "Times that packets were sent again by another path after a timeout.",
    "impaired_remote_conn_events": "Times that connections to a peer were throttled as impaired.",
    "unresponsive_remote_events": "Times that a peer did not answer.",
    "submitted_cmds": "Commands given to the adapter.",
    "completed_cmds": "Commands completed by the adapter.",
    "cmds_err": "Commands that failed.",
    "no_completion_cmds": "Commands without an answer in time.",
    "keep_alive_rcvd": "Signs of life from the adapter.",
    "alloc_pd_err": "Failed allocations of protection domains.",
    "alloc_ucontext_err": "Failed allocations of user contexts.",
    "create_ah_err": "Failed creations of address handles.",
    "create_cq_err": "Failed creations of completion queues.",
    "create_qp_err": "Failed creations of queue pairs.",
    "reg_mr_err": "Failed registrations of memory.",
    "mmap_err": "Failed mappings of the adapter's memory.",
}
NOT_COUNTERS = {"lifespan"}
"""Settings of the kernel, which lie beside the counters."""


class Sample(NamedTuple):
    """One line: the metric, its labels, its value."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    value: int


def adapters(root: Path) -> list[Path]:
    """EFA devices; other RDMA devices have other counters of the same names."""
    found = []
    for device in sorted(root.glob("sys/class/infiniband/*")):
        driver = device / "device" / "driver"
        if driver.exists() and driver.resolve().name == "efa":
            found.append(device)
    return found


def counters(folder: Path, labels: tuple[tuple[str, str], ...]) -> Iterator[Sample]:
    """Every counter of a folder, and how many could not be read."""
    unreadable = 0
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name in NOT_COUNTERS or not re.fullmatch(r"[a-z][a-z0-9_]*", path.name):
            continue
        try:
            value = int(path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            unreadable += 1
        else:
            yield Sample(f"efa_{path.name}_total", labels, value)
    yield Sample("efa_unreadable", labels, unreadable)


def text_of(path: Path) -> str:
    """Content of a small file, such as "4: ACTIVE"; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def samples(root: Path) -> Iterator[Sample]:
    """Everything that is known of all adapters below a root folder."""
    devices = adapters(root)
    yield Sample("efa_devices", (), len(devices))
    for device in devices:
        name = ("device", device.name)
        firmware = text_of(device / "fw_ver")
        yield Sample("efa_info", (name, ("firmware", firmware)), 1)
        # Ports are numbered from 1; a label of the same set keeps sums over one metric simple.
        yield from counters(device / "hw_counters", (name, ("port", "")))
        for port in sorted(device.glob("ports/*")):
            labels = (name, ("port", port.name))
            active = text_of(port / "state").endswith("ACTIVE")
            yield Sample("efa_port_active", labels, int(active))
            yield from counters(port / "hw_counters", labels)


HELP = {
    "efa_devices": "Elastic Fabric Adapters of this machine.",
    "efa_info": "What an adapter is.",
    "efa_port_active": "Whether a port's state is ACTIVE.",
    "efa_unreadable": "Counters that could not be read.",
}


def render(found: list[Sample]) -> str:
    """Prometheus' text format, one block for each metric."""
    lines = []
    for metric in sorted({sample.metric for sample in found}):
        counter = metric[len("efa_") : -len("_total")] if metric.endswith("_total") else ""
        meaning = MEANINGS.get(counter, "As the driver counts it.") if counter else HELP[metric]
        lines += [f"# HELP {metric} {meaning}"]
        lines += [f"# TYPE {metric} {'counter' if counter else 'gauge'}"]
        for sample in found:
            if sample.metric == metric:
                labels = ",".join(f'{name}="{escaped(value)}"' for name, value in sample.labels)
                lines.append(f"{metric}{f'{{{labels}}}' if labels else ''} {sample.value}")
    return "\n".join(lines) + "\n"


def escaped(value: str) -> str:
    """A label's value as the format wants it."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def handler(root: Path) -> type[BaseHTTPRequestHandler]:
    """What answers requests: /metrics, and nothing else."""

    class Metrics(BaseHTTPRequestHandler):
        """Answers one request."""

        timeout = 10

        def do_GET(self) -> None:
            """Answer with all metrics."""
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404, "only /metrics is here")
                return
            content = render(list(samples(root))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing: a scrape every few seconds would fill the journal."""

    return Metrics


def main() -> None:
    """Serve, or print once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default=":9109", help="such as 127.0.0.1:9109")
    parser.add_argument("--root", type=Path, default=Path("/"), help="folder that has sys/class")
    parser.add_argument("--once", action="store_true", help="print the metrics and end")
    options = parser.parse_args()
    if options.once:
        print(render(list(samples(options.root))), end="")
        return
    address, _, port = options.listen.rpartition(":")
    server = ThreadingHTTPServer((address, int(port)), handler(options.root))
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main()
