"""A plan of all floors and one method, its made-up results, and its published board."""

import shutil
from pathlib import Path

import pytest
from made_up import filled

from gfp_bench.boards import publication
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.plan import Plan, make_plan
from gfp_bench.engine.records import Store
from gfp_bench.protocols.protocol import load_protocol
from gfp_bench.registry.discovery import load_plugins
from gfp_bench.registry.plugins import Plugins


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    return load_plugins()


@pytest.fixture(scope="session")
def plan(toy: Manifest, plugins: Plugins) -> Plan:
    return make_plan(toy, load_protocol("attribution@0"), [("knn", {})], plugins)


@pytest.fixture(scope="session")
def _made(toy: Manifest, plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results and their board, which each test gets a copy of."""
    folder = tmp_path_factory.mktemp("made")
    store = filled(toy, plan, Store(folder / "results"))
    publication.publish(plan, {toy.name: toy}, store, folder / "boards")
    return folder


@pytest.fixture
def store(_made: Path, tmp_path: Path) -> Store:
    shutil.copytree(_made / "results", tmp_path / "results")
    return Store(tmp_path / "results")


@pytest.fixture
def published(_made: Path, tmp_path: Path) -> Path:
    """The Markdown of the published board."""
    shutil.copytree(_made / "boards", tmp_path / "boards")
    return tmp_path / "boards" / "toy-attribution@0.md"
