"""Reads a config file and turns every mistake in it into one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from stspark.errors import ConfigError, InputError, nearest
from stspark.options import complaint
from stspark.settings import Settings


def load_settings(path: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """Read the YAML file at `path`, apply `dotted.key=value` overrides, validate.

    Raises ConfigError (unknown key with the nearest known one, wrong type, bad YAML) or InputError (no file).
    """
    path = Path(path)
    if not path.is_file():
        there = ", ".join(sorted(str(p) for p in Path("conf").glob("*.yaml"))) or "none here"
        raise InputError(str(path), "config file does not exist", f"give --config one of: {there}")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"is not valid YAML ({error})", "mend the file at that line") from error
    if not isinstance(raw, dict):
        raise ConfigError(str(path), "holds no keys", "start from conf/simulated.yaml")
    for override in overrides:
        _apply(raw, override)
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise _first_mistake(path, overrides, raw, error) from error


def _apply(raw: dict[str, Any], override: str) -> None:
    """Set one `dotted.key=value`; an entry of a list goes by its position, counted from 0, or by its `name`."""
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(
            f"--set {override}", "is not of the form dotted.key=value", "write for example time.horizon=14"
        )
    node: Any = raw
    *parts, last = key.strip().split(".")
    for part in parts:
        node = node[_position(node, part, key)] if isinstance(node, list) else node.setdefault(part, {})
        if not isinstance(node, dict | list):
            raise ConfigError(f"--set {key}", f"'{part}' holds no further keys", "see the config file for its keys")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}", f"value '{value}' is not YAML", "quote it") from error
    if isinstance(node, list):
        node[_position(node, last, key)] = parsed
    else:
        node[last] = parsed


def _position(entries: list[Any], part: str, key: str) -> int:
    """See `_place`; ConfigError where there is none."""
    place = _place(entries, part)
    if place is not None:
        return place
    known = ", ".join(filter(None, map(_name, entries)))
    fix = "count from 0" if part.isdecimal() or not known else f"name one of {known}"
    raise ConfigError(f"--set {key}", f"'{part}' is none of the list's {len(entries)} entries", fix)


def _place(entries: Sequence[Any], part: str) -> int | None:
    """Of the entry that a part of a key means, by position or by name."""
    if part.isdecimal() and int(part) < len(entries):
        return int(part)
    names = [_name(entry) for entry in entries]
    return names.index(part) if part in names else None


def _first_mistake(path: Path, overrides: Sequence[str], raw: Any, error: ValidationError) -> ConfigError:
    """The first of pydantic's findings, in our form; it names the file, or the `--set` that the key came by."""
    found = error.errors(include_url=False)[0]
    place = [str(part) for part in found["loc"]]
    key = ".".join(place) or "config"
    where = origin(path, overrides, key, raw)
    if found["type"] == "extra_forbidden":
        known = _keys_at(place[:-1])
        near = nearest(place[-1], known)
        fix = f"did you mean '{near}'?" if near else f"known keys are {', '.join(known)}"
        return ConfigError(where, "unknown key", fix)
    if found["type"] == "missing":
        return ConfigError(where, "is required and missing", "add it; conf/simulated.yaml shows how")
    came = found.get("input")
    shown = f" (got {came!r})" if isinstance(came, str | int | float | bool) else ""
    return ConfigError(where, f"{complaint(found)}{shown}", "see docs/configuration.md")


def origin(path: str | Path, overrides: Sequence[str], key: str, tree: Any) -> str:
    """Where a key of the config `tree`, or something within it, was said: the file or a `--set`."""
    asked = _named(tree, key)
    given = (_named(tree, override.partition("=")[0].strip()) for override in overrides)
    near = any(all(a == b for a, b in zip(asked, name, strict=False)) for name in given)
    return f"--set {key}" if near else f"{path}: {key}"


def _named(tree: Any, key: str) -> list[str]:
    """The parts of a key, where an entry of a list goes by its name if it has one."""
    parts = []
    for part in key.split("."):
        if isinstance(tree, list | tuple):
            place = _place(tree, part)
            tree = None if place is None else tree[place]
            parts.append(_name(tree) or part)
        else:
            tree = tree.get(part) if isinstance(tree, dict) else None
            parts.append(part)
    return parts


def _name(entry: Any) -> str:
    """What an entry of a list goes by; "" for one without a name."""
    name = entry.get("name") if isinstance(entry, dict) else entry
    return name if isinstance(name, str) else ""


def _keys_at(place: Sequence[str]) -> list[str]:
    """Known keys of the section at `place`, found by walking the settings classes."""
    section: type[BaseModel] = Settings
    for part in place:
        if part.isdigit():
            continue
        annotation: Any = section.model_fields[part].annotation if part in section.model_fields else None
        section = next((c for c in _classes(annotation)), section)
    return list(section.model_fields)


def _classes(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [c for inner in get_args(annotation) for c in _classes(inner)]


def check_files(settings: Settings) -> Mapping[str, Path]:
    """Check that every file that the config names is there; return them by key."""
    files = settings.input_files()
    published = f"; the data set is published at {settings.source.published}" if settings.source.published else ""
    for key, path in {"source.path": Path(settings.source.path), **files}.items():
        if "://" not in str(path) and not path.exists():
            raise InputError(
                f"{key}: {path}",
                f"does not exist (looked from {Path.cwd()})",
                f"put the data there or change {key}{published}",
            )
    return files
