"""Certificates are checked wherever there are any, and nothing is loaded for that where there are none."""

import ssl

import pytest

from driftline_combiner.tls import tls_for

pytestmark = pytest.mark.unit


def test_over_http_alone_no_authority_is_loaded_and_none_is_trusted():
    tls = tls_for(["http://127.0.0.1:8004", "http://trainer"])
    assert tls.cert_store_stats()["x509_ca"] == 0
    assert tls.verify_mode == ssl.CERT_REQUIRED
    assert tls.check_hostname


def test_one_address_by_https_is_enough_for_the_authorities():
    tls = tls_for(["http://127.0.0.1:8004", "https://trainer.example"])
    assert tls.cert_store_stats()["x509_ca"] > 0
    assert tls.verify_mode == ssl.CERT_REQUIRED
    assert tls.check_hostname
