"""The Java that Spark will run on."""

import os
import re
import shutil
import subprocess

from place import SetUpError

VERSIONS = range(17, 26)  # Spark 4.2: 17, 21 and 25


def check_java() -> None:
    """Raise unless the Java that Spark will take (JAVA_HOME, else the PATH) is one that it runs on."""
    remedy = (
        "install Java 17 (Debian, Ubuntu: sudo apt install openjdk-17-jre-headless; macOS: brew install openjdk@17) "
        "or set JAVA_HOME to one"
    )
    home = os.environ.get("JAVA_HOME")
    java = os.path.join(home, "bin", "java") if home else shutil.which("java")
    if not java or not os.access(java, os.X_OK):
        raise SetUpError(f"{f'JAVA_HOME={home} holds no bin/java' if home else 'no Java found'}; {remedy}")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', said)  # "17.0.15", and "1.8.0_402" for 8
    if not version:
        raise SetUpError(f"{java} -version does not work; {remedy}")
    if int(version[1]) not in VERSIONS:
        raise SetUpError(f"{java} is Java {version[1]}, and Spark needs 17, 21 or 25; {remedy}")
