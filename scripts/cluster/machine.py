"""The Python of the cluster's machines: every dependency of the project, and no stspark.

The environment of the checkout would not do: its editable install finds stspark in the checkout wherever a wheel lacks
a module. A .pth file names the folder of the dependencies, and Python does not read the .pth files of folders that are
named in this way, so the editable install is not seen.
"""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from place import ClusterError, Place

WITNESS = Path(__file__).with_name("import_witness.py")


def make_python(place: Place) -> Path:
    """Make the environment in place.python; return its interpreter."""
    made = subprocess.run(
        [sys.executable, "-I", "-m", "venv", "--without-pip", "--clear", str(place.python)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        raise ClusterError(f"no virtual environment: {(made.stderr or made.stdout).strip().splitlines()[-1]}")
    packages = next(place.python.glob("lib/python3*/site-packages"))
    shutil.copy(WITNESS, packages)
    dependencies = dict.fromkeys(sysconfig.get_paths()[name] for name in ("purelib", "platlib"))
    (packages / "cluster.pth").write_text("\n".join([*dependencies, f"import {WITNESS.stem}", ""]))
    return place.python / "bin" / "python"
