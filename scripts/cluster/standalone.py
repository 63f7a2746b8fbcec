"""A standalone Spark cluster on loopback: a master and two workers, on ports that the system chooses."""

import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from place import LOOPBACK, ClusterError, Place, say
from processes import Family

WORKERS = 2
CORES, MEMORY = 1, "2g"
START_SECONDS = 60.0

# What the master and the workers say about themselves, and warnings of all else.
LOGGING = """\
status = fatal
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.deploy.name = org.apache.spark.deploy
logger.deploy.level = info
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n%ex
"""


@dataclass(frozen=True)
class Cluster:
    """A running cluster: its address, its processes by name, where they log."""

    url: str
    daemons: dict[str, subprocess.Popen[bytes]]
    logs: Path

    def require_alive(self) -> None:
        """Raise ClusterError if the master or a worker has died: a job would wait for it for ever."""
        for name, daemon in self.daemons.items():
            if daemon.poll() is not None:
                raise ClusterError(f"{name} died with exit code {daemon.returncode}", log=self.logs / f"{name}.log")


def start_cluster(place: Place, family: Family, python: Path) -> Cluster:
    """Start master and workers and wait until the master knows the workers; raises ClusterError with a log's end."""
    (place.settings / "log4j2.properties").write_text(LOGGING)
    environment = place.environment(python) | {
        "SPARK_CONF_DIR": str(place.settings),
        "SPARK_DAEMON_MEMORY": "512m",
        "STSPARK_IMPORTS": str(place.imports),
    }

    def start(name: str, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [str(place.spark / "bin" / "spark-class"), f"org.apache.spark.deploy.{kind}", "--host", LOOPBACK]
        return family.start(name, [*command, "--port", "0", "--webui-port", "0", *arguments], environment)

    began = time.monotonic()
    master = start("master", "master.Master")
    url = _wait_for(place, family, "master", master, r"(spark://\S+)")
    daemons = {"master": master}
    for number in range(1, WORKERS + 1):
        size = ["--cores", str(CORES), "--memory", MEMORY, "--work-dir", str(place.work / f"worker-{number}")]
        daemons[f"worker-{number}"] = start(f"worker-{number}", "worker.Worker", *size, url)
    for name in list(daemons)[1:]:
        _wait_for(place, family, name, daemons[name], r"(Successfully registered with master)")
    seconds = time.monotonic() - began
    say(f"master {url} and {WORKERS} workers ({CORES} core, {MEMORY} each) are up after {seconds:.0f} s")
    return Cluster(url, daemons, place.logs)


def _wait_for(place: Place, family: Family, name: str, daemon: subprocess.Popen[bytes], pattern: str) -> str:
    """Return what `pattern` finds in the daemon's log, as soon as it is there."""
    log, end = place.logs / f"{name}.log", time.monotonic() + START_SECONDS
    while not (found := re.search(pattern, log.read_text(errors="replace"))):
        if daemon.poll() is not None:
            raise ClusterError(f"{name} did not start (exit code {daemon.returncode})", log=log)
        if time.monotonic() > end:
            raise ClusterError(f"{name} did not come up within {START_SECONDS:.0f} s", log=log)
        family.look()
        time.sleep(0.2)
    return found[1]
