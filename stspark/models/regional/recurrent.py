"""A small recurrent network for one region: GRU or LSTM, one step ahead, run on over the horizon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from stspark.models.base import Floats, Forecast, Future, Parameters, Series
from stspark.models.regional import options
from stspark.models.regional.empirical import empirical_forecast, error_facts

_CLIP = 4.0
"""Scaled values beyond this many standard deviations are cut, on the way in and out."""


@dataclass(frozen=True)
class Recurrent:
    """GRU (Cho et al. 2014) or LSTM (Hochreiter & Schmidhuber 1997) on the scaled target and the known-ahead columns.

    cell: gru or lstm; hidden: its width; window: days of context; epochs, learning_rate: Adam on the squared error of
    the next day. Trained per region in about a second for two years of days; a global network learns more
    from the same days, so this one is for those who want it.
    """

    cell: str = "gru"
    hidden: int = 16
    window: int = 56
    epochs: int = 60
    learning_rate: float = 0.01
    seed: int = 1

    name: ClassVar[str] = "recurrent"
    min_length: ClassVar[int] = 28
    carries_forward: ClassVar[bool] = True

    def __post_init__(self) -> None:
        where = "models.recurrent."
        options.one_of(where + "cell", self.cell, ("gru", "lstm"))
        for option, least in (("hidden", 1), ("window", 8), ("epochs", 1), ("seed", 0)):
            options.whole(where + option, getattr(self, option), at_least=least)
        options.positive(where + "learning_rate", self.learning_rate)

    def fit(self, history: Series) -> Parameters:
        """Train on all windows; raise ValueError when the history is too short."""
        if len(history) < self.min_length:
            raise ValueError(f"recurrent needs {self.min_length} days of history; there are {len(history)}")
        centre, scale = float(history.y.mean()), float(history.y.std()) or 1.0
        inputs, target = _inputs(history, centre, scale), _scaled(history.y, centre, scale)
        network = self._trained(inputs, target, history.observed)
        parameters: Parameters = {
            "model": f"{self.cell.upper()}({self.hidden})",
            "cell": self.cell,
            "hidden": self.hidden,
            "weights": sum(p.numel() for p in network.parameters()),
            "centre": centre,
            "scale": scale,
            "days": len(history),
            "last_day": str(history.dates[-1]),
        }
        state = {name: np.round(w.numpy().astype(float), 6).tolist() for name, w in network.state_dict().items()}
        parameters["state"] = {"network": state}
        errors, _ = _one_step_errors(_loaded(parameters, inputs.shape[1]), history, parameters)
        state_last = parameters.pop("state")
        return parameters | error_facts(errors) | {"state": state_last}

    def predict(self, parameters: Parameters, history: Series, future: Future, quantiles: Sequence[float]) -> Forecast:
        """Read the history, then feed each day's forecast into the next; errors widen as those of a random walk's
        fourth root, which one-step errors cannot say better.
        """
        centre, scale = parameters["centre"], parameters["scale"]
        width = _inputs(history, centre, scale).shape[1]
        network = _loaded(parameters, width)
        errors, hidden = _one_step_errors(network, history, parameters)
        last, mean = float(_scaled(history.y[-1:], centre, scale)[0]), np.empty(len(future))
        calendar = _calendar(future.dates, future.covariates, history.season)
        with torch.no_grad():
            for step in range(len(future)):
                row = torch.tensor(np.concatenate([[last], calendar[step]]), dtype=torch.float32)
                value, hidden = network(row[None, None, :], hidden)
                last = float(value[0, 0].clamp(-_CLIP, _CLIP))
                mean[step] = centre + scale * last
        spread: Floats = np.power(1.0 + np.arange(len(future)), 0.25)
        return empirical_forecast(mean, errors, quantiles, spread)

    def _trained(self, inputs: Floats, target: Floats, observed: np.ndarray[Any, np.dtype[np.bool_]]) -> _Network:
        torch.set_num_threads(1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = _Network(self.cell, inputs.shape[1], self.hidden)
            window = min(self.window, len(inputs))
            starts = np.arange(len(inputs) - window, -1, -max(window // 4, 1))
            x = torch.tensor(np.stack([inputs[s : s + window] for s in starts]), dtype=torch.float32)
            y = torch.tensor(np.stack([target[s : s + window] for s in starts]), dtype=torch.float32)
            weight = torch.tensor(np.stack([observed[s : s + window] for s in starts]), dtype=torch.float32)
            adam = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
            for _ in range(self.epochs):
                adam.zero_grad()
                value, _ = network(x, None)  # [windows, window]
                loss = (weight * (value - y) ** 2).sum() / weight.sum().clamp(min=1.0)
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                adam.step()
        return network.eval()


class _Network(nn.Module):
    """One recurrent layer and a linear head."""

    def __init__(self, cell: str, width: int, hidden: int) -> None:
        super().__init__()
        layer = nn.GRU if cell == "gru" else nn.LSTM
        self.layer = layer(width, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x: Tensor, hidden: Any) -> tuple[Tensor, Any]:  # x: [batch, time, width]
        """[batch, time] the next values, and the layer's state."""
        out, hidden = self.layer(x, hidden)
        return self.head(out)[..., 0], hidden


def _loaded(parameters: Parameters, width: int) -> _Network:
    network = _Network(parameters["cell"], width, int(parameters["hidden"]))
    stored = parameters["state"]["network"]
    network.load_state_dict({name: torch.tensor(w, dtype=torch.float32) for name, w in stored.items()})
    return network.eval()


def _one_step_errors(network: _Network, history: Series, parameters: Parameters) -> tuple[Floats, Any]:
    """[m] errors of the observed days, in the target's unit; and the state after the last."""
    torch.set_num_threads(1)
    centre, scale = parameters["centre"], parameters["scale"]
    x = torch.tensor(_inputs(history, centre, scale), dtype=torch.float32)
    with torch.no_grad():
        value, hidden = network(x[None], None)
    errors = history.y - (centre + scale * value[0].numpy().astype(np.float64))
    return errors[history.observed], hidden


def _inputs(history: Series, centre: float, scale: float) -> Floats:
    """[n, width] the value of the day before, and what is known of the day itself."""
    before = np.concatenate([[0.0], _scaled(history.y, centre, scale)[:-1]])
    return np.column_stack([before, _calendar(history.dates, history.covariates, history.season)])


def _calendar(dates: np.ndarray[Any, Any], covariates: Floats, season: int) -> Floats:
    """[n, 4 + covariates] two harmonics of the season, and the covariates, cut to +-4."""
    angle = 2 * np.pi * dates.astype("datetime64[D]").astype(np.int64) / season
    waves = [wave(k * angle) for k in (1, 2) for wave in (np.sin, np.cos)]
    return np.column_stack([*waves, np.clip(covariates, -_CLIP, _CLIP)])


def _scaled(y: Floats, centre: float, scale: float) -> Floats:
    return np.clip((y - centre) / scale, -_CLIP, _CLIP)
