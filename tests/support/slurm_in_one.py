"""A Slurm of two nodes in one container of a test case's image: Debian's own daemons, no systemd.

Both nodes are this container: they share its processors and its network, and have a loopback
address. Nothing of a real network between machines is seen here.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bakehouse import engine
from bakehouse.engine import StartedContainer

LIMIT_S = 120
NODES = ("node1", "node2")

# Without control groups of its own to give, hence linuxproc and task/none.
_CONFIGURATION = """
ClusterName=test
SlurmctldHost=machine(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=/var/spool/slurm/state
SlurmdSpoolDir=/var/spool/slurm/%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.%n.pid
SlurmctldLogFile=/var/log/slurmctld.log
SlurmdLogFile=/var/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=5
InactiveLimit=0
KillWait=2
SchedulerParameters=sched_interval=1
NodeName=node[1-2] NodeHostname=machine NodeAddr=127.0.0.1 Port=[17001-17002] CPUs=4 RealMemory=100 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""  # noqa: E501

_START = f"""
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get --quiet=2 update
apt-get --quiet=2 install --no-install-recommends slurmctld slurmd slurm-client munge iproute2 \\
  >/dev/null 2>&1
echo '127.0.0.1 machine' >> /etc/hosts
mkdir -p /run/munge /var/spool/slurm/state /var/spool/slurm/node1 /var/spool/slurm/node2
cat > /etc/slurm/slurm.conf <<'END'
{_CONFIGURATION}
END
chown munge: /run/munge
setpriv --reuid=munge --regid=munge --clear-groups munged
slurmctld
for node in {" ".join(NODES)}; do slurmd -N "$node"; done
"""


@dataclass(frozen=True)
class Slurm:
    """A cluster, as somebody with a shell on it sees it."""

    container: StartedContainer

    def run(self, script: str) -> str:
        """Output of a shell script that must succeed within the limit."""
        # A job for nodes that are not as described waits for ever.
        command = ["timeout", "--kill-after=1", str(LIMIT_S), "bash", "-c", script]
        status, output = self._said(command)
        assert status == 0, f"{output}\n{self.daemons()}"
        return output.strip()

    def daemons(self) -> str:
        """What the daemons say."""
        command = ["bash", "-c", "tail --lines=30 /var/log/slurm*.log"]
        return self._said(command)[1]

    def _said(self, command: list[str]) -> tuple[int, str]:
        done: Any = self.container.exec_run(command, user="0")
        return int(done.exit_code), str(done.output.decode(errors="replace"))

    def submit(self, script: str, folder: str, environment: str = "") -> int:
        """Submit a script in a folder; returns the job's number."""
        file = f"{folder}/job.sbatch"
        self.run(f"mkdir -p {folder} && cat > {file} <<'END OF JOB'\n{script}END OF JOB")
        return int(self.run(f"cd {folder} && {environment} sbatch --parsable job.sbatch"))

    def field(self, job: int, name: str) -> str:
        """One field of what `scontrol show job` prints; empty where it prints nothing just now."""
        words = self.run(f"scontrol show job {job}").split()
        found = (word.partition("=")[2] for word in words if word.startswith(f"{name}="))
        return next(found, "")

    def wait(self, job: int, what: str, true: Callable[[], bool], within_s: float = 180) -> None:
        """Wait until something is true of a job."""
        until = time.monotonic() + within_s
        while not true():
            assert time.monotonic() < until, f"{what}: not within {within_s} s\n{self.shown(job)}"
            time.sleep(0.2)

    def shown(self, job: int) -> str:
        """All that is known about a job."""
        folder = self.field(job, "WorkDir")
        logs = self.run(f"tail --lines=40 {folder}/*.out {folder}/*.log || true")
        return f"{self.run(f'scontrol show job {job}')}\n{logs}\n{self.daemons()}"

    def hurry(self, job: int) -> None:
        """Let a job that was queued again begin soon: Slurm has it wait for minutes.

        Not at once: slurmd takes a job that begins again within a second for the one just killed.
        """
        self.wait(job, "its place in the queue", lambda: self.field(job, "JobState") == "PENDING")
        self.run(f"scontrol update JobId={job} StartTime=now+3")

    def kill_processes(self, node: str) -> None:
        """Kill what a job runs on a node, at once and for good; the node itself stays."""
        self.run(f"{_OF_NODE}\nkill -KILL $(training {node})")

    def freeze(self, node: str) -> None:
        """Let a node with all that runs on it say nothing more, as behind a cut cable."""
        self.run(f"{_OF_NODE}\nkill -STOP $(daemons {node}) $(training {node})")

    def replace(self, node: str) -> None:
        """Start a frozen node anew, as after its reboot."""
        self.run(f"{_OF_NODE}\nkill -KILL $(daemons {node}) $(training {node}); slurmd -N {node}")


_OF_NODE = """
# Processes of the training on a node, by the variable that Slurm gives them.
training() {
  for process in /proc/[0-9]*; do
    if grep -qzx "SLURMD_NODENAME=$1" $process/environ 2>/dev/null; then
      grep -qaF train.py $process/cmdline && echo ${process#/proc/}
    fi
  done
  true
}
# Slurm's own on that node: its slurmd, and the parent of the step's first process.
daemons() {
  cat /run/slurmd.$1.pid
  for number in $(training $1); do
    parent=$(awk '$1 == "PPid:" { print $2 }' /proc/$number/status)
    if grep -qa '^slurmstepd' /proc/$parent/cmdline; then echo $parent; fi
  done
}
"""


@contextmanager
def slurm(image: str) -> Iterator[Slurm]:
    """A running cluster in a container of an image of Debian 12."""
    with engine.running_container(
        image, ["sleep", "infinity"], user="0", hostname="machine", init=True
    ) as container:
        cluster = Slurm(container)
        cluster.run(_START)
        until = time.monotonic() + 30
        while cluster.run("sinfo --noheader --Node --format=%T | sort -u") != "idle":
            assert time.monotonic() < until, cluster.daemons()
            time.sleep(0.2)
        yield cluster
