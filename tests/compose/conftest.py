"""What the deployments' tests send, and what their trainers learn from."""

from pathlib import Path

import pytest

from tests.compose.stack import Data


@pytest.fixture(scope="session")
def data() -> Data:
    return Data()


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Path:
    folder = tmp_path_factory.mktemp("data")
    data.write(folder)
    return folder
