import pytest
from tests.collect.conftest import servers
from tests.collect.conftest import start_server as start_server


@pytest.fixture(scope="module")
def start_lasting_server(tmp_path_factory):
    """As `start_server`, for all tests of a file."""
    yield from servers(tmp_path_factory.mktemp("servers"))


@pytest.fixture(scope="module")
def in_this_process():
    """Students one after the other here: every worker would load the libraries again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spiritsafe.environment.cores", lambda: 1)
        yield
