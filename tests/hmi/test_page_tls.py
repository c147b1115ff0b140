"""The page over TLS in Chromium: an authority's certificate, a browser that trusts this key alone, a secure session."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from certificates_of_brokers import Authority
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hmi_process import PEOPLE, chromium, hmi_config, logged_in, needs_chromium, running_hmi
from page_findings import noted
from waiting import wait_until

pytestmark = [pytest.mark.service, pytest.mark.heavy, needs_chromium]

NAME = next(iter(PEOPLE))


def key_of(certificate: Path) -> str:
    """Return the hash of a certificate's public key, as Chromium's command line takes it."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    told = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(told).digest()).decode()


def test_the_page_is_live_over_tls(start_service: Any, tmp_path: Path) -> None:
    small = start_service()
    small.tell("coil started")
    small.tell("frames 3 8")
    certificate, key = Authority(tmp_path, "mill").certify("page", "127.0.0.1")
    config = hmi_config(tmp_path, small.publish, small.serve)
    config.write_text(f'{config.read_text()}[tls]\ncertificate_file = "{certificate}"\nkey_file = "{key}"\n')
    with running_hmi(config) as hmi:
        assert hmi.url.startswith("https://127.0.0.1:")
        with chromium() as browser, pytest.raises(Exception, match="ERR_CERT_AUTHORITY_INVALID"):
            browser.new_page().goto(hmi.url)
        with chromium(f"--ignore-certificate-errors-spki-list={key_of(certificate)}") as browser:
            page = logged_in(browser, hmi.url, NAME)
            errors = noted(page)
            page.locator("html[data-link=live]").wait_for()
            (cookie,) = [one for one in page.context.cookies() if "linewatch" in one["name"]]
            assert cookie["name"] == "__Host-linewatch"
            assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
            assert page.reload().headers["strict-transport-security"].startswith("max-age=")
            wait_until(lambda: page.evaluate("defectsOnPage()") == 3)
            assert errors == []
