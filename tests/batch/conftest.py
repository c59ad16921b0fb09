"""An archive for every test of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Archive


@pytest.fixture
def archive(tmp_path: Path, mask_model: Path) -> Iterator[Archive]:
    made = Archive(tmp_path, mask_model)
    yield made
    left = [path for path in tmp_path.rglob(".viso-*") if path.suffix != ".onnx"]
    assert not left, left
