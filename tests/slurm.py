"""A Slurm of one's own for a test: munge, the controller and the nodes as processes of this machine, in a new folder and on free ports.

With accounting there is a MariaDB and slurmdbd as well. Everything is stopped when the test ends, however it ends. Where the packages
are missing (Debian: slurm-wlm and munge; with accounting slurmdbd and mariadb-server), tests are skipped with that reason.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.systems import only_linux

__all__ = ["Cluster", "start_slurm", "until"]

only_linux("Slurm runs there")

PROGRAMS = ("setpriv", "munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
OF_ACCOUNTING = ("slurmdbd", "mariadbd", "mariadb-install-db", "sacctmgr")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # where daemons are
PATIENCE = 60.0  # seconds until a daemon answers
CONFIGURATION = """
ClusterName=tokenbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0,requeue_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
DefMemPerCPU=2500
KillWait=2
CompleteWait=0
MaxArraySize=6
SlurmdParameters=config_overrides
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=short Nodes=ALL MaxTime=2 State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=off
"""
ACCOUNTING = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={database}
AccountingStoragePass={folder}/munge/socket
AccountingStorageEnforce=associations,limits,qos
"""
DATABASE = """
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={database}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageLoc=slurm_acct_db
StorageUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""


@dataclass
class Cluster:
    """A Slurm that runs."""

    folder: Path
    nodes: Sequence[str]
    environment: dict[str, str]
    """What Slurm's commands, and programs that call them, need to find it."""
    controller: subprocess.Popen[bytes] | None = None
    _daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def ask(self, *command: str) -> str:
        """Run a command of Slurm, and return its output."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"
        return done.stdout

    def queue(self) -> list[tuple[str, str, str]]:
        """Return (id, state, reason) of all jobs that have not ended, one for each task of an array."""
        lines = self.ask("squeue", "-h", "-r", "-o", "%i|%T|%r").splitlines()
        return [tuple(line.split("|")) for line in lines]  # type: ignore[misc]

    def last_job(self) -> str:
        """Return the id of the last job, which may have ended."""
        return max(self.ask("squeue", "-h", "-t", "all", "-o", "%A").split(), key=int)

    def running(self) -> list[str]:
        """Return the ids of the jobs that run."""
        return [job for job, state, _ in self.queue() if state == "RUNNING"]

    def hurry(self) -> None:
        """Start requeued jobs at once. Slurm leaves them alone for two minutes, until their credentials have expired."""
        for job, _, reason in self.queue():
            if reason == "BeginTime":
                subprocess.run(
                    ["scontrol", "update", f"JobId={job}", "StartTime=now"], env=self.environment, check=False
                )

    def workers(self, job: str) -> list[int]:
        """Return the processes of a task that do its work, without those that Slurm starts around them."""
        raw = self.ask("scontrol", "show", "job", "-o", job).partition("JobId=")[2].split()[0]
        mark, found = f"SLURM_JOB_ID={raw}".encode(), []
        for pid in _processes_of(self.folder):
            try:
                command, own = (
                    Path(f"/proc/{pid}/{name}").read_bytes().split(b"\0") for name in ("cmdline", "environ")
                )
            except OSError:
                continue
            if (
                mark in own
                and b"submitit.core._submit" in command
                and b"srun" not in Path(os.fsdecode(command[0])).name.encode()
            ):
                found.append(pid)
        return found

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the work of all tasks for a while, without Slurm's knowledge, so that a test has time however busy the machine is."""
        pids = [pid for job in self.running() for pid in self.workers(job)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def spawn(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a daemon in the foreground of its own process group. It dies with this process, even if this is killed."""
        log = (self.folder / f"{Path(command[0]).name}.out").open("ab")
        whole = ["setpriv", "--pdeathsig", "KILL", *command]
        process = subprocess.Popen(whole, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        self._daemons.append(process)
        return process

    def start_controller(self) -> None:
        """Start slurmctld, and wait until it answers."""
        self.controller = self.spawn("slurmctld", "-D")
        until(lambda: self._answers("scontrol", "ping") and self._answers("sinfo"), "slurmctld answers")

    def stop_controller(self) -> None:
        """Stop slurmctld. Jobs go on."""
        assert self.controller
        self.controller.terminate()
        self.controller.wait(timeout=30)

    def stop(self) -> None:
        """Cancel all jobs and stop all daemons, the last one first."""
        subprocess.run(
            ["scancel", "-f", "-s", "KILL", "-u", "root"], env=self.environment, capture_output=True, timeout=30
        )
        for process in reversed(self._daemons):
            process.terminate()
        for process in reversed(self._daemons):
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for pid in _processes_of(self.folder):  # slurmstepd outlives its slurmd
            os.kill(pid, signal.SIGKILL)

    def _answers(self, *command: str) -> bool:
        return subprocess.run(command, env=self.environment, capture_output=True, timeout=30).returncode == 0


@contextmanager
def start_slurm(
    nodes: int = 1, cpus: int = 2, memory: int = 6000, accounting: bool = False, hide: Path | None = None
) -> Iterator[Cluster]:
    """Start a Slurm.

    Args:
        nodes: How many nodes it has.
        cpus: How many CPUs each node says it has.
        memory: MiB of each node.
        accounting: Whether it has a database, an account `lab` for root, and enforces limits.
        hide: A folder that nodes do not see.
    """
    _check_packages(PROGRAMS + (OF_ACCOUNTING if accounting else ()))
    names = [f"n{i + 1}" for i in range(nodes)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tb-slurm-", ignore_cleanup_errors=True)))
        folder.chmod(0o755)
        cluster = Cluster(folder, names, {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")})
        stack.callback(cluster.stop)
        ports = _free_ports(2 + nodes)
        values = {"folder": folder, "host": socket.gethostname(), "controller": ports[0], "database": ports[1]}
        lines = [CONFIGURATION.format(**values), ACCOUNTING.format(**values) if accounting else ""]
        lines += [
            f"NodeName={name} NodeHostname={values['host']} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory={memory}"
            for name, port in zip(names, ports[2:], strict=True)
        ]
        (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
        _start_munge(cluster)
        if accounting:
            _start_database(cluster, DATABASE.format(**values))
        (folder / "state").mkdir()
        cluster.start_controller()
        for name in names:
            (folder / f"spool-{name}").mkdir()
            around = (
                ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {hide} && exec "$@"', "sh"] if hide else []
            )
            cluster.spawn(*around, "slurmd", "-D", "-N", name)
        until(
            lambda: cluster.ask("sinfo", "-h", "-N", "-p", "cpu", "-o", "%T").split() == ["idle"] * nodes,
            "nodes are idle",
        )
        yield cluster


def until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"waited {patience:.0f} s until {what}"
        time.sleep(0.05)


def _check_packages(programs: Sequence[str]) -> None:
    missing = [name for name in programs if not shutil.which(name, path=PATH)]
    if missing:
        pytest.skip(
            f"needs Slurm: {', '.join(missing)} are not installed (apt-get install slurm-wlm munge slurmdbd mariadb-server)"
        )
    if os.geteuid() != 0:
        pytest.skip("needs root: the daemons of Slurm start jobs for users")


def _start_munge(cluster: Cluster) -> None:
    own = cluster.folder / "munge"
    own.mkdir(mode=0o755)
    (own / "key").write_bytes(os.urandom(1024))
    (own / "key").chmod(0o600)
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    cluster.spawn("munged", "--foreground", "--force", *(f"--{name}={own / file}" for name, file in files.items()))
    until((own / "socket").exists, "munged listens")


def _start_database(cluster: Cluster, configuration: str) -> None:
    data, listens = cluster.folder / "database", cluster.folder / "database.socket"
    cluster.ask(
        "mariadb-install-db",
        f"--datadir={data}",
        "--user=root",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
    )
    cluster.spawn(
        *("mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={listens}", "--user=root", "--skip-networking"),
        *("--innodb-buffer-pool-size=64M", "--innodb-log-file-size=64M", f"--pid-file={data}/pid"),
    )
    until(listens.exists, "mariadbd listens")
    file = cluster.folder / "slurmdbd.conf"
    file.write_text(configuration)
    file.chmod(0o600)
    cluster.environment["MYSQL_UNIX_PORT"] = str(listens)
    cluster.spawn("slurmdbd", "-D")
    until(lambda: cluster._answers("sacctmgr", "-n", "list", "cluster"), "slurmdbd answers")
    for what in (["cluster", "tokenbench"], ["account", "lab"], ["user", "root", "account=lab"]):
        cluster.ask("sacctmgr", "-i", "add", *what)


def _free_ports(number: int) -> list[int]:
    """Return ports that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _processes_of(folder: Path) -> list[int]:
    """Return the processes whose environment names the cluster's configuration."""
    found, mark = [], f"SLURM_CONF={folder}/slurm.conf".encode()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid() and mark in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
