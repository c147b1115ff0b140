"""The licence that pyproject.toml states is the one in LICENSE, and the build takes the file along."""

import hashlib
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
APACHE_2_0 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""SHA-256 of https://www.apache.org/licenses/LICENSE-2.0.txt."""


def test_the_licence_is_apache_2_0_unchanged_and_stated_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2_0
    readme = (ROOT / "README.md").read_text()
    assert "[Apache-2.0](LICENSE)" in readme
    assert "[SECURITY.md](SECURITY.md)" in readme
    for card in sorted((ROOT / "engines").glob("*/CARD.md")):
        assert "Weights: Apache-2.0" in card.read_text(), card
