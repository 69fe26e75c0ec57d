"""The exporters of a machine, scraped by a real Prometheus: node_exporter, and EFA's counters.

There is no adapter here: a tree of files below another root stands in for sysfs.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from role_runs import failure
from stand_ins import STACK, StandIn, booted

pytestmark = pytest.mark.docker

PATIENCE_S = 60
TREE = "/srv/tree"

# Two adapters, one of them with a port that is down and a counter that is no number; a device of
# another driver with a counter of the same name.
SYSFS = rf"""
set -eu
cd {TREE}/sys
mkdir -p bus/pci/drivers/efa bus/pci/drivers/mlx5_core
device() {{
  mkdir -p class/infiniband/$1/device class/infiniband/$1/ports/1/hw_counters \
    class/infiniband/$1/hw_counters
  ln -s ../../../../bus/pci/drivers/$2 class/infiniband/$1/device/driver
  echo "$3" > class/infiniband/$1/ports/1/state
  echo 0.0.0.1 > class/infiniband/$1/fw_ver
  for counter in tx_bytes rx_bytes; do
    echo "$4" > class/infiniband/$1/ports/1/hw_counters/$counter
  done
  echo 12 > class/infiniband/$1/ports/1/hw_counters/lifespan
  echo 7 > class/infiniband/$1/hw_counters/submitted_cmds
}}
device rdmap0s6 efa '4: ACTIVE' 1000
device rdmap1s6 efa '1: DOWN' 2000
echo broken > class/infiniband/rdmap1s6/ports/1/hw_counters/retrans_pkts
device mlx5_0 mlx5_core '4: ACTIVE' 5000
"""

PROMETHEUS = """
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: machine
    static_configs: [{targets: ["127.0.0.1:9100", "127.0.0.1:9109"]}]
"""

START = rf"""
set -eu
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
apt-get --quiet=2 install --no-install-recommends prometheus >/dev/null
echo 'bakehouse_check_failed 0' > /var/lib/node_exporter/textfile/checks.prom
printf '%s' '{PROMETHEUS}' > /srv/prometheus.yml
promtool check config /srv/prometheus.yml
systemctl start prometheus-node-exporter efa_exporter
systemd-run --quiet --unit scraper prometheus --config.file=/srv/prometheus.yml \
  --storage.tsdb.path=/srv/tsdb --web.listen-address=127.0.0.1:9090
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """Both exporters and a Prometheus that scrapes them, all as Debian 12 has them."""
    scratch = tmp_path_factory.mktemp("exporters")
    with booted("cpu", "debian12") as stand_in:
        shell(stand_in, f"mkdir -p {TREE}/sys && {SYSFS}")
        report = stand_in.apply(
            scratch,
            ["node_exporter", "efa_exporter"],
            **stand_in.variables() | {"efa_exporter_root": TREE},
        )
        assert failure(report, "target") == ""
        shell(stand_in, START)
        yield stand_in


def shell(machine: StandIn, script: str) -> str:
    """Output of a script that succeeds."""
    status, output = machine.container.exec_run(["timeout", "300", "bash", "-c", script])
    assert status == 0, output.decode()
    return str(output.decode())


FETCH = """
import sys, urllib.parse, urllib.request
query = urllib.parse.urlencode({'query': sys.argv[1]})
print(urllib.request.urlopen(f'http://127.0.0.1:9090/api/v1/query?{query}').read().decode())
"""


def ask(machine: StandIn, query: str) -> list[tuple[dict[str, str], float]]:
    """What Prometheus answers to a query, as soon as it knows something."""
    shown = ""
    for _ in range(PATIENCE_S):
        command = ["python3", "-c", FETCH, query]
        status, output = machine.container.exec_run(command)
        shown = output.decode()
        answer: dict[str, Any] = json.loads(shown) if status == 0 else {}
        found = answer.get("data", {}).get("result", [])
        if found:
            return [(part["metric"], float(part["value"][1])) for part in found]
        time.sleep(1)
    journal = shell(machine, "journalctl --no-pager --lines=40")
    pytest.fail(f"{query}: nothing\n{shown}\n{journal}")


@pytest.mark.parametrize("port", [9100, 9109])
def test_is_scraped(machine: StandIn, port: int) -> None:
    assert ask(machine, f'up{{instance="127.0.0.1:{port}"}} == 1') != []


@pytest.mark.parametrize(
    "query",
    [
        "node_memory_MemTotal_bytes > 0",
        "node_systemd_unit_state == 1",
        "node_processes_threads > 0",
        "bakehouse_check_failed == 0",
        "node_textfile_scrape_error == 0",
    ],
)
def test_metric_of_the_machine(machine: StandIn, query: str) -> None:
    assert ask(machine, query) != []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("efa_devices", {("", ""): 2}),
        ("efa_tx_bytes_total", {("rdmap0s6", "1"): 1000, ("rdmap1s6", "1"): 2000}),
        ("efa_port_active", {("rdmap0s6", "1"): 1, ("rdmap1s6", "1"): 0}),
        ("efa_submitted_cmds_total", {("rdmap0s6", ""): 7, ("rdmap1s6", ""): 7}),
        ("efa_unreadable > 0", {("rdmap1s6", "1"): 1}),
        ('efa_info{firmware="0.0.0.1"}', {("rdmap0s6", ""): 1, ("rdmap1s6", ""): 1}),
    ],
)
def test_metric_of_the_adapters(
    machine: StandIn, query: str, expected: dict[tuple[str, str], float]
) -> None:
    found = {
        (labels.get("device", ""), labels.get("port", "")): value
        for labels, value in ask(machine, query)
    }
    assert found == expected


def test_a_setting_is_no_counter(machine: StandIn) -> None:
    program = "python3 /opt/bakehouse/efa_exporter.py --once --root"
    assert "lifespan" not in shell(machine, f"{program} {TREE}")


def test_the_format_is_clean(machine: StandIn) -> None:
    program = f"python3 /opt/bakehouse/efa_exporter.py --once --root {TREE}"
    assert shell(machine, f"{program} | promtool check metrics 2>&1") == ""


def test_a_growing_counter_has_a_rate(machine: StandIn) -> None:
    counter = f"{TREE}/sys/class/infiniband/rdmap0s6/ports/1/hw_counters/rx_bytes"
    ask(machine, "efa_rx_bytes_total")
    shell(machine, f"for n in 1 2 3 4; do echo $((1000 + n * 1000)) > {counter}; sleep 1; done")
    rate = ask(machine, 'rate(efa_rx_bytes_total{device="rdmap0s6"}[20s]) > 0')
    assert rate[0][1] > 0


@pytest.mark.slow
def test_the_projects_archive_where_the_distribution_has_no_exporter(tmp_path: Path) -> None:
    with booted(STACK, "amazon2023") as stand_in:
        variables = stand_in.variables()
        for changes in (True, False):
            report = stand_in.apply(tmp_path, ["node_exporter"], **variables)
            assert failure(report, "target") == ""
            assert (report["stats"]["target"]["changed"] > 0) is changes
        assert stand_in.broken_promises(["node_exporter"], variables) == ""
