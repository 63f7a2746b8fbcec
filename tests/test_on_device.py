"""Pretraining's tasks made on a device are those made on the host."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import torch

from stspark.models.deep.families import simulated_families
from stspark.models.deep.pretraining import PretrainConfig, draw_choice, draw_task, make_corpus
from stspark.pretraining.on_device import Shelf


@pytest.mark.parametrize("weeks", [8, 52])
@pytest.mark.parametrize("seed", range(4))
def test_a_task_made_on_a_device_is_the_one_made_on_the_host(seed, weeks):
    """Late series, months without a seen day, histories shorter and longer than the weeks read."""
    made = simulated_families(40, 500, date(2025, 1, 1), seed)
    alive, observed = made.alive.copy(), made.observed.copy()
    alive[:200, 5] = False
    observed[200:280, 7] = False
    corpus = make_corpus("c", replace(made, alive=alive, observed=observed & alive, y=np.where(alive, made.y, 0.0)))
    config = PretrainConfig(series=30, weeks=weeks)
    for step in range(5):
        expected = draw_task([corpus], config, np.random.default_rng([seed, step]))
        choice = draw_choice([corpus], config, np.random.default_rng([seed, step]))
        found = Shelf(corpus, torch.device("cpu")).task(choice)
        assert found.causal == expected.causal
        torch.testing.assert_close(found.past, expected.past, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.truth, expected.truth, rtol=1e-5, atol=1e-5)
        assert torch.equal(found.asked, expected.asked)
