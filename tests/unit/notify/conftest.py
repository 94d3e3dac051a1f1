"""Where an outbox is, a webhook to send to, and a certificate for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.webhook import Webhook, make_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a database in a folder that does not exist yet."""
    return tmp_path / "state" / "outbox.db"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a self-signed certificate for 127.0.0.1."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """Run a webhook."""
    with Webhook() as running:
        yield running
