"""Panel models by name: the one place that knows which there are. Their names stand in stspark.names too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stspark.models.panel.base import MEMBERS, PanelForecaster, is_partial
from stspark.models.registry import Registry
from stspark.names import PANEL_PREFIX
from stspark.settings import Model

_HERE = "stspark.models.panel"
_MODELS = {
    "boosted_trees": f"{_HERE}.boosted.model:BoostedTrees",
    "shared_seasons": f"{_HERE}.seasons.model:SharedSeasons",
    "residual_trees": f"{_HERE}.residual_trees.model:ResidualTrees",
    "sar": f"{_HERE}.dynamic_sar:Sar",
    "dynamic_sar": f"{_HERE}.dynamic_sar:DynamicSar",
    "stv": f"{_HERE}.stv:Stv",
    "foundation": f"{_HERE}.foundation:Foundation",
    "borrowed": f"{_HERE}.borrowed.model:Borrowed",
}
"""A model's name in config and where its class is; imported only when it is asked for."""
_REGISTRY = Registry(_MODELS, MEMBERS, "stspark.models.panel.base.PanelForecaster", PANEL_PREFIX)


def known() -> tuple[str, ...]:
    """Names that `build` takes, besides dotted paths."""
    return tuple(_MODELS)


def build(name: str, options: Mapping[str, object]) -> PanelForecaster:
    """Return the panel model `name` with `options`; ConfigError as `Registry.build` says."""
    model: PanelForecaster = _REGISTRY.build(name, options)
    return model


def partial_models(models: Iterable[Model]) -> tuple[str, ...]:
    """Names of those of these panel models that are for some regions only."""
    return tuple(model.name for model in models if is_partial(build(model.name, model.options)))
