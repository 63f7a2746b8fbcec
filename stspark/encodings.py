"""Text encodings by any of their names, as both Python and Spark spell them."""

from __future__ import annotations

import codecs
import re

ASCII = bytes(range(128))
JAVA = re.compile(r"utf-8|ascii|iso8859-\d+|cp\d+|koi8-[ru]|tis-620|big5|shift_jis|euc_(jp|kr)|gb(k|2312|18030)")
"""Python's names of the encodings that Java knows by the same name (tried out with Java 17)."""


def shared_name(encoding: str) -> str:
    """The name that Python and Java share; ValueError for an encoding that files cannot be read in.

    An encoding must hold ASCII as it is (UTF-16 does not), since lines and fields are cut before they are decoded.

    >>> shared_name("latin-1"), shared_name("windows-1252"), shared_name("UTF-8")
    ('iso8859-1', 'cp1252', 'utf-8')
    """
    try:
        name = codecs.lookup(encoding).name.removesuffix("-sig")
        plain = ASCII.decode(name) == ASCII.decode("ascii")
    except (LookupError, UnicodeDecodeError):
        raise ValueError(f"'{encoding}' is not a known text encoding; write for example UTF-8 or latin-1") from None
    if not plain or not JAVA.fullmatch(name):
        raise ValueError(f"'{encoding}' cannot be read; save the files as UTF-8")
    return name
