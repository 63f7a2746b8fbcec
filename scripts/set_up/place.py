"""Where the environment of a checkout lies, what it is made from, and whether it is finished."""

import hashlib
import re
from pathlib import Path

# A change in one of these makes set-up run again.
INPUTS = ("constraints.txt", "setup.py", "conf/spark/*", "scripts/set_up/*.py")
DISK_GB = 10  # 6 to keep, the rest while pip unpacks


class SetUpError(Exception):
    """One line for the user: what is wrong; what to do about it."""


class Place:
    """Where the environment of one checkout lies."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.venv = root / ".venv"
        self.python = self.venv / "bin" / "python"
        self.packages = self.venv / "lib" / "python3.11" / "site-packages"
        self.spark = self.packages / "pyspark"
        self.stamp = self.venv / "set-up.stamp"
        self.log = self.venv / "set-up.log"
        self.kept_jars = root / ".jars"  # outlives .venv

    def fingerprint(self) -> str:
        """Return the hash of everything the environment is made from; the path too, since a venv cannot be moved."""
        digest = hashlib.sha256(str(self.root).encode())
        for pattern in INPUTS:
            for path in sorted(self.root.glob(pattern)):
                digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()

    def is_ready(self) -> bool:
        return self.stamp.is_file() and self.stamp.read_text().strip() == self.fingerprint()

    def pin(self, package: str) -> str:
        """Return the version of a package in constraints.txt."""
        name = package.replace("-", "[-_]")
        found = re.search(rf"^{name}==(\S+)", (self.root / "constraints.txt").read_text(), re.M | re.I)
        if not found:
            raise SetUpError(
                f"constraints.txt has no line {package}==VERSION; restore it: git checkout constraints.txt"
            )
        return found[1]
