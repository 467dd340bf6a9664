from gfp_bench.cli.default import load_default
from gfp_bench.contracts.settings import parse_spec
from gfp_bench.data.catalogue import dataset_names
from gfp_bench.protocols.protocol import protocol_names
from gfp_bench.registry.discovery import load_plugins


def test_the_default_names_what_exists() -> None:
    default, plugins = load_default(), load_plugins()
    assert default.dataset in dataset_names()
    assert default.protocol in protocol_names()
    assert {parse_spec(method)[0] for method in default.methods} <= set(plugins.methods)
