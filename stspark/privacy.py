"""User ids: the key under which they are hashed, the hash, and the digests of people who are to be forgotten."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from pathlib import Path

log = logging.getLogger("stspark")

VARIABLE = "STSPARK_USER_KEY"
HASH_DIGITS = 32


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


def hashed(user: str, key: str) -> str:
    """The id as it stands in `events`: SHA-256 of key, value and key again (envelope MAC), 32 hex digits."""
    return hashlib.sha256(f"{key}{user}{key}".encode()).hexdigest()[:HASH_DIGITS]


def digest(user_hash: str) -> str:
    """What is kept of a forgotten person, so that the next ingest knows not to keep them: a hash of the hash."""
    return hashlib.sha256(user_hash.encode()).hexdigest()
