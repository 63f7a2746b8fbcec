"""What set-up says while it works, and how it explains a command that failed."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from place import DISK_GB, Place, SetUpError


def say(text: str) -> None:
    """Tell the user where set-up stands."""
    print(f"[set-up] {text}", file=sys.stderr, flush=True)


class Heartbeat:
    """One living line on a terminal, a line every 15 seconds elsewhere."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.live = sys.stderr.isatty()
        self.next = 0.0 if self.live else 15.0

    def beat(self, text: str) -> None:
        passed = time.monotonic() - self.start
        if passed >= self.next:
            self.next = passed + (1 if self.live else 15)
            line = f"[set-up]   {int(passed) // 60}:{int(passed) % 60:02d} {text}"
            width = shutil.get_terminal_size().columns - 1
            print(
                f"\r{line[:width]}\x1b[K" if self.live else line,
                end="" if self.live else "\n",
                file=sys.stderr,
                flush=True,
            )

    def end(self) -> None:
        if self.live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def run(command: list[str], place: Place, progress: Callable[[str], str], env: dict[str, str] | None = None) -> str:
    """Run a command with a heartbeat, its output in the log; return that output, or raise one line that explains it."""
    heartbeat = Heartbeat()
    with place.log.open("a+") as log:
        print(f"\n$ {' '.join(command)}", file=log, flush=True)
        start = log.tell()

        def output() -> str:
            with place.log.open(errors="replace") as written:
                written.seek(start)
                return written.read()

        child = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env, cwd=place.root)
        try:
            while child.poll() is None:
                time.sleep(0.2)
                heartbeat.beat(progress(output()))
        finally:  # Ctrl-C among them
            heartbeat.end()
            if child.poll() is None:
                child.terminate()
                child.wait()
    if child.returncode:
        raise SetUpError(f"{explain(output())} (all it said: {place.log.relative_to(place.root)})")
    return output()


NO_NETWORK = re.compile(
    r"NewConnectionError|NameResolutionError|name resolution|nodename nor servname|ConnectTimeout|Connection refused"
    r"|ProxyError|Network is unreachable|Read timed out|Host \S+ not found|UnknownHost|SSLError|ConnectException"
)


def explain(output: str) -> str:
    """Turn the output of a failed pip or Ivy into what is wrong and what to do."""
    if "No space left on device" in output:
        return f"the disk is full; free {DISK_GB} GB and run the same command again"
    if re.search(r"Permission denied|Read-only file system", output):
        return "no permission to write here; work in a directory of your own (ls -ld . .venv .jars)"
    if "unresolved dependency" in output or "UNRESOLVED DEPENDENCIES" in output:
        why = "no network: " if NO_NETWORK.search(output) else ""
        return (
            f"{why}Ivy cannot fetch the Delta jars from Maven Central; connect and run the same command again "
            "(behind a proxy: export JAVA_TOOL_OPTIONS='-Dhttps.proxyHost=HOST -Dhttps.proxyPort=PORT')"
        )
    if NO_NETWORK.search(output):
        return (
            "no network: pip cannot reach its package index; connect and run the same command again "
            "(behind a proxy: export HTTPS_PROXY; with a mirror: export PIP_INDEX_URL)"
        )
    if missing := re.search(r"No matching distribution found for (\S+)", output):
        return f"the package index has no {missing[1]} for this system; use 64-bit Linux or macOS, or set PIP_INDEX_URL"
    errors = re.findall(r"^(?:ERROR|error|Error|Caused by): .*", output, re.M)
    last = [*(output.strip().splitlines() or ["no output"])[-1:], *errors][-1].strip()
    return f"failed: {last}; run the same command again, it goes on where it stopped"
