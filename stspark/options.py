"""Options of the config file as typed dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from stspark.errors import ConfigError, nearest

T = TypeVar("T")
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Numbers that an option may take: of things; of things, 0 for none; a part of a whole, less than all; sizes."""


def complaint(found: Mapping[str, Any]) -> str:
    """What pydantic finds wrong, in words of YAML."""
    return str(found["msg"]).removeprefix("Value error, ").replace("valid tuple", "list")


def typed(kind: type[T], options: Mapping[str, Any], where: str) -> T:
    """The dataclass `kind` from options; ConfigError for an unknown one (naming the nearest) or a wrong type."""
    known = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for key in options:
        if key not in known:
            near = nearest(key, known)
            fix = f"did you mean '{near}'?" if near else f"known options are {', '.join(known)}"
            raise ConfigError(f"{where}.{key}", "unknown option", fix)
    try:
        return TypeAdapter(kind).validate_python(dict(options))
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        place = ".".join([where, *(str(part) for part in found["loc"])])
        what = f"{complaint(found)} (got {found.get('input')!r})"
        raise ConfigError(place, what, "see docs/configuration.md") from error
