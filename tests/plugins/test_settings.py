"""What every built-in plugin says of its settings."""

import pytest

from gfp_bench import SettingError
from gfp_bench.contracts.settings import described_settings
from gfp_bench.registry.discovery import built_in

CLASSES = {entry.cls.name: entry.cls for entry in built_in()}


@pytest.mark.parametrize("name", CLASSES)
def test_a_setting_that_is_not_there_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingError, match=f"unknown {name} setting 'no-such'"):
        CLASSES[name](**{"no-such": 1})


@pytest.mark.parametrize("name", CLASSES)
def test_every_setting_is_explained(name: str) -> None:
    facts = described_settings(CLASSES[name])
    assert [one.name for one in facts if not one.explanation] == []
    assert [one.name for one in facts if one.explanation.endswith(".")] == []
