"""What `make audit` says of a report of pip-audit."""

import pytest

from tools.audit import verdict

CLEAN = {"name": "numpy", "version": "2.4.6", "vulns": []}
FLAWED = {"name": "pillow", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}
UNKNOWN = {"name": "av", "version": "18.1.0", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([CLEAN], 0, "1 packages audited, 0 known"),
        ([CLEAN, FLAWED], 1, "pillow 1.0: CVE-1, mended in 1.1"),
        ([UNKNOWN], 3, "nothing was audited"),
        ([CLEAN, UNKNOWN], 3, "1 packages were not audited"),
        ([FLAWED, UNKNOWN], 1, "CVE-1"),
    ],
)
def test_what_was_not_asked_is_not_without_flaws(packages: list[dict], code: int, said: str) -> None:
    found, text = verdict({"dependencies": packages})
    assert found == code
    assert said in text
