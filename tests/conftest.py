"""Options of the test run: where the real data lies, and that soak tests run only when asked for."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--real-data",
        type=Path,
        default=REPOSITORY.parent / "shared" / "data",
        metavar="DIR",
        help="Folder of real texts; tests that need it are skipped where it is absent.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Soak tests take minutes, so they wait for ``-m soak``."""
    if not config.getoption("-m"):
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(pytest.mark.skip(reason="long: run by `make soak`"))


@pytest.fixture(scope="session")
def real_data(pytestconfig: pytest.Config) -> Path:
    """The folder of real texts."""
    path = Path(str(pytestconfig.getoption("--real-data")))
    if not path.is_dir():
        pytest.skip(f"{path}: no real texts here; give a folder with --real-data")
    return path
