"""Starts processes and stops exactly them and what came of them.

Executors, Python workers, torchrun and its ranks are grandchildren that put themselves into groups and sessions of
their own, so neither tells who belongs to us: parents do, noted while the family lives.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

GRACE_SECONDS = 15.0
"""How long Spark may take to go by itself; what is left then is killed."""


@dataclass(frozen=True)
class Process:
    """A process and when it began: a number alone may belong to somebody else tomorrow."""

    pid: int
    born: str


def list_processes() -> dict[Process, int]:
    """Return all living processes of this machine with their parent's number; zombies are dead."""
    if not Path("/proc/self/stat").exists():
        return _list_by_ps()
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended just now
            continue
        if fields[0] != "Z":
            found[Process(int(stat.parent.name), fields[19])] = int(fields[1])
    return found


def _list_by_ps() -> dict[Process, int]:
    said = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat=,lstart="], capture_output=True, text=True, check=True)
    rows = (line.split(maxsplit=3) for line in said.stdout.splitlines())
    return {Process(int(pid), born): int(parent) for pid, parent, state, born in rows if not state.startswith("Z")}


@dataclass
class Family:
    """Processes that were started here and all their descendants."""

    logs: Path
    leaders: list[subprocess.Popen[bytes]] = field(default_factory=list)
    seen: set[Process] = field(default_factory=set)

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start a command that writes to logs/NAME.log; Ctrl-C in the terminal does not reach it."""
        with (self.logs / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=environment, start_new_session=True,
            )  # fmt: skip
        self.leaders.append(child)
        self.look()
        return child

    def look(self) -> set[Process]:
        """Note who has come; return those of the family who live."""
        there = list_processes()
        young = {leader.pid for leader in self.leaders if leader.poll() is None}
        self.seen |= {process for process in there if process.pid in young}
        while new := self._children(there):
            self.seen |= new
        return self.seen & there.keys()

    def _children(self, there: dict[Process, int]) -> set[Process]:
        parents = {process.pid for process in self.seen & there.keys()}
        return {process for process, parent in there.items() if parent in parents} - self.seen

    def stop(self) -> int:
        """Ask the leaders to end, last started first, kill what is left; return how many there were."""
        living = self.look()
        for leader in reversed(self.leaders):
            if leader.poll() is None:
                leader.terminate()
        self._wait(GRACE_SECONDS)
        while left := self.look():
            self._kill(left)
            self._wait(1.0)
        return len(living)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.look() and time.monotonic() < end:
            time.sleep(0.1)

    def _kill(self, processes: Iterable[Process]) -> None:
        for process in processes:
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
