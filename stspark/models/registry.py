"""Models by name: a table of where their classes are, or a dotted path to a class of the user's own."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stspark.errors import ConfigError, nearest


@dataclass(frozen=True)
class Registry:
    """classes: a model's name in config -> "package.module:Class", imported only when it is asked for.

    members: what a built model must have; protocol: where that is written down, for the error; prefix: what a user's
    own path begins with in config; others: names that config takes too but that are not built here, for the error.
    """

    classes: Mapping[str, str]
    members: Sequence[str]
    protocol: str
    prefix: str = ""
    others: Sequence[str] = ()

    def build(self, name: str, options: Mapping[str, object]) -> Any:
        """Return the model `name` with `options` (lists become tuples).

        name: one of `classes`, or "package.module:Class" (after `prefix`) for a class of the user's own that
        implements the protocol and takes its options as keywords. Raises ConfigError for an unknown name or
        option, naming the nearest, and for a value that the model refuses.
        """
        where = f"models.{name}"
        own = name.removeprefix(self.prefix)
        if name not in self.classes and ":" not in own:
            known = (*self.classes, *self.others)
            like = nearest(name, known)
            fix = f"did you mean '{like}'?" if like else f"give one of {', '.join(known)}"
            raise ConfigError(
                "models", f"there is no model '{name}'", f"{fix} (your own: {self.prefix}package.module:Class)"
            )
        cls = _load(where, self.classes.get(name, own))
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
        _check_options(where, cls, given)
        try:
            model = cls(**given)
        except (TypeError, ValueError) as error:
            raise ConfigError(where, f"refuses its options: {error}", "correct them") from error
        lacking = [member for member in self.members if not hasattr(model, member)]
        if lacking:
            raise ConfigError(where, f"lacks {', '.join(lacking)}", f"implement {self.protocol}")
        return model


def _load(where: str, path: str) -> Any:
    """The class at "package.module:Class"; raise ConfigError when it cannot be imported."""
    module_name, _, class_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise ConfigError(where, f"cannot import '{module_name}': {error}", "install it or mend the path") from error
    if not inspect.isclass(getattr(module, class_name, None)):
        like = nearest(class_name, [n for n, v in vars(module).items() if inspect.isclass(v)])
        fix = f"did you mean '{like}'?" if like else "name a class of that module"
        raise ConfigError(where, f"'{module_name}' has no class '{class_name}'", fix)
    return getattr(module, class_name)


def _check_options(where: str, cls: type, given: Mapping[str, object]) -> None:
    """Raise ConfigError for an option that the class does not take."""
    taken = inspect.signature(cls).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values()):
        return
    for option in given:
        if option not in taken:
            like = nearest(option, taken)
            choice = f"did you mean '{like}'?" if like else f"it takes {', '.join(taken) or 'no options'}"
            raise ConfigError(f"{where}.{option}", "is no option of this model", choice)
