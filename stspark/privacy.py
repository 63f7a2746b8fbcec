"""The key under which user ids are hashed."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

log = logging.getLogger("stspark")

VARIABLE = "STSPARK_USER_KEY"


def user_key(warehouse: str) -> str:
    """The key from the environment, else one made once and kept beside the warehouse (mode 0600)."""
    if key := os.environ.get(VARIABLE):
        return key
    path = Path(warehouse) / ".user_key"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii")
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
    log.info("%s is not set: user ids are hashed with a new key kept in %s", VARIABLE, path)
    return path.read_text(encoding="ascii")
