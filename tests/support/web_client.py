"""A person's browser without a browser: requests to `linewatch hmi` with a session and its CSRF token."""

import json
import re
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from hmi_process import PASSWORD


class WebClient:
    """Logged in as `name`; "": as nobody."""

    def __init__(self, url: str, name: str = "") -> None:
        self._host = urlsplit(url).netloc
        self.cookie, self.csrf = "", ""
        if name:
            body = urlencode({"name": name, "password": PASSWORD, "next": "/"})
            status, headers, _ = self.request(
                "POST", "/login", body, {"Content-Type": "application/x-www-form-urlencoded"}
            )
            assert status == 303, f"{name} cannot log in"
            self.cookie = headers["set-cookie"].partition(";")[0]
            found = re.search(rb'data-csrf="([^"]+)"', self.get("/")[2])
            assert found is not None
            self.csrf = found[1].decode()

    def request(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers by lower-case name, and body."""
        connection = HTTPConnection(self._host, timeout=30)
        try:
            cookie = {"Cookie": self.cookie} if self.cookie else {}
            origin = {"Origin": f"http://{self._host}"}
            connection.request(method, path, body, {**cookie, **origin, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return what `request` does."""
        return self.request("GET", path)

    def data(self, path: str) -> Any:
        """Return what a page's data answer as JSON."""
        status, _, body = self.get(path)
        assert status == 200, (status, body)
        return json.loads(body)

    def act(self, path: str, body: dict[str, Any], csrf: str | None = None) -> tuple[int, Any]:
        """Return the status and the JSON of an action."""
        token = {"Content-Type": "application/json", "X-CSRF-Token": self.csrf if csrf is None else csrf}
        status, _, answer = self.request("POST", path, json.dumps(body), token)
        return status, json.loads(answer)
