"""Which doors a container's health check asks."""

import pytest

from driftline.names import EDGE, PORTS
from driftline.service.probe import ports


def test_a_service_is_asked_at_its_port(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DRIFTLINE_SERVICE", "combiner")
    monkeypatch.delenv("DRIFTLINE_PORT", raising=False)
    assert list(ports()) == [str(PORTS["combiner"])]
    monkeypatch.setenv("DRIFTLINE_PORT", "9000")
    assert list(ports()) == ["9000"]


def test_the_edge_is_asked_at_all_of_its_doors(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DRIFTLINE_SERVICE", EDGE)
    monkeypatch.setenv("DRIFTLINE_INFERENCE_PORT", "9002")
    assert list(ports()) == ["8001", "9002", "8003"]
