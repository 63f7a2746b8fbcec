"""What the documents say is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from stspark.config_file import _classes
from stspark.models.regional.registry import known
from stspark.settings import Settings

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def sections() -> list[type[BaseModel]]:
    return [Settings, *(c for f in Settings.model_fields.values() for c in _classes(f.annotation))]


@pytest.mark.parametrize("section", sections(), ids=lambda s: s.__name__)
def test_the_guide_names_every_key(section: type[BaseModel]) -> None:
    words = set(re.findall(r"\w+", GUIDE))
    assert set(section.model_fields) <= words


@pytest.mark.parametrize("model", known())
def test_the_guide_names_every_model(model: str) -> None:
    assert f"`{model}`" in GUIDE


@pytest.mark.parametrize("job", sorted(p.stem for p in (ROOT / "jobs").glob("*.py")))
def test_the_readme_names_every_job(job: str) -> None:
    assert f"`{job}`" in README or f"make {job}" in README


def test_every_config_loads() -> None:
    from stspark.config_file import load_settings

    for path in sorted((ROOT / "conf").glob("*.yaml")):
        assert load_settings(path).dataset == path.stem
