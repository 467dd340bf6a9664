"""What every built-in plugin says of its settings."""

import pytest

from gfp_bench import load_plugins
from gfp_bench.contracts.settings import described_settings

PLUGINS = load_plugins()
NAMES = (*PLUGINS.methods, *PLUGINS.attacks, *PLUGINS.generators)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_explained(name: str) -> None:
    facts = described_settings(PLUGINS.entry(name).cls)
    assert [one.name for one in facts if not one.explanation] == []
    assert [one.name for one in facts if one.explanation.endswith(".")] == []
