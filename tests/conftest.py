"""Options of the test run, and what several files of tests stand on: real data, an object store on this machine."""

import urllib.request
from collections.abc import Iterator
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


@pytest.fixture
def put_back() -> Iterator[None]:
    """Training makes a process deterministic, and the best that others have allows TF32; both are undone."""
    import torch

    precision = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(precision)
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder in an object store on this machine."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    told = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", b"").close()  # what an earlier test stored is kept in this process
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("texts")
    yield "s3://texts/run"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
