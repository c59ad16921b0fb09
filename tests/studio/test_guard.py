"""Who may call: names, origins, the token, and what browsers are told to refuse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from helpers.live_studio import HERE, asked, idle_app
from viso.errors import ConfigError
from viso.studio import StudioConfig

TOKEN = "a-token-of-the-tests-0123"
NOBODY = "0" * 32


@pytest.fixture
def client(tmp_path: Path) -> httpx.Client:
    return asked(idle_app(tmp_path))


def locked(tmp_path: Path, **settings: Any) -> httpx.Client:
    app = idle_app(tmp_path, token=TOKEN, **settings)
    return asked(app)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8000", 200),
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("evil@localhost", 421),
        ("192.168.0.1", 421),
        ("", 421),
    ],
)
def test_only_own_names_are_answered(client: httpx.Client, host: str, status: int) -> None:
    assert client.get("/api/limits", headers={"host": host}).status_code == status


def test_names_that_were_allowed_and_all_addresses(tmp_path: Path) -> None:
    app = idle_app(tmp_path, hosts=("studio.example",), any_address=True)
    client = asked(app, url="http://studio.example")
    assert client.get("/healthz").status_code == 200
    for host, status in (("192.168.0.1:80", 200), ("[fe80::1]", 200), ("other.example", 421)):
        assert client.get("/healthz", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"origin": "http://localhost"}, 404),
        ({"origin": "https://localhost"}, 404),  # a proxy that speaks TLS
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost:9999"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-origin", "origin": "http://localhost"}, 404),
        ({"sec-fetch-site": "none"}, 404),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"/api/jobs/{NOBODY}/cancel"),
        ("DELETE", f"/api/jobs/{NOBODY}"),
        ("DELETE", f"/api/songs/{NOBODY}"),
    ],
)
def test_pages_of_others_change_nothing(
    client: httpx.Client, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert client.request(method, path, headers=headers).status_code == status


def test_every_answer_tells_browsers_what_to_refuse(client: httpx.Client) -> None:
    for path in ("/", "/docs", "/healthz", "/api/limits", "/nowhere", f"/api/jobs/{NOBODY}"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy, path
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
    assert client.get("/api/limits").headers["cache-control"] == "no-store"
    assert client.get("/x", headers={"host": "evil"}).headers["x-content-type-options"] == "nosniff"


def test_only_songs_may_be_large(client: httpx.Client) -> None:
    url = f"/api/songs/{NOBODY}/jobs"
    large = b" " * 70_000
    json = {"content-type": "application/json"}
    assert client.post(url, content=large, headers=json).status_code == 413
    assert client.post(url, content=iter([large[:40_000]] * 2), headers=json).status_code == 413


def test_without_the_token_there_is_nothing(tmp_path: Path) -> None:
    client = locked(tmp_path)
    for path in ("/api/limits", "/api/models", f"/api/jobs/{NOBODY}", "/openapi.json", "/nowhere"):
        answer = client.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert client.post("/api/songs", content=b"x").status_code == 401
    for headers in (
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer é".encode("latin-1")},
        {"cookie": f"viso_session={TOKEN}"},
        {"cookie": "viso_session=; ;;=\x01"},
    ):
        assert client.get("/api/limits", headers=headers).status_code == 401


def test_what_is_open(tmp_path: Path) -> None:
    client = locked(tmp_path)
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/login").status_code == 200
    assert client.get("/static/plain.css").status_code == 200
    page = client.get("/", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/login")


def test_programs_send_the_token(tmp_path: Path) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert locked(tmp_path).get("/api/limits", headers=headers).status_code == 200


def test_people_log_in_and_out(tmp_path: Path) -> None:
    client = locked(tmp_path)
    wrong = client.post("/login", data={"token": "wrong"})
    assert wrong.status_code == 401 and "set-cookie" not in wrong.headers
    assert (
        client.post(
            "/login", data={"token": TOKEN}, headers={"origin": "http://evil.example"}
        ).status_code
        == 403
    )
    answer = client.post("/login", data={"token": TOKEN}, headers={"origin": HERE})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert client.get("/api/limits").status_code == 200
    out = client.post("/logout", headers={"origin": HERE})
    assert out.status_code == 303
    assert client.get("/api/limits").status_code == 401


def test_behind_tls_the_cookie_is_for_tls_only(tmp_path: Path) -> None:
    app = idle_app(tmp_path, token=TOKEN)
    client = asked(app, url="https://localhost")
    assert "Secure" in client.post("/login", data={"token": TOKEN}).headers["set-cookie"]


@pytest.mark.parametrize("token", ["short", "a blank in between 123", "ümläute-0123456789"])
def test_tokens_that_are_none(tmp_path: Path, token: str) -> None:
    with pytest.raises(ConfigError, match="openssl") as caught:
        StudioConfig.from_mapping({"data": tmp_path, "token": token}, origin="test")
    assert caught.value.args


def test_ids_are_random_and_nothing_lists_them(client: httpx.Client) -> None:
    operations = client.get("/openapi.json").json()["paths"]
    assert "get" not in operations["/api/songs"]
    assert not any(
        re.fullmatch(r"/api/(jobs|songs)/?", path) and "get" in operations[path]
        for path in operations
    )
    for path in ("/api/songs", "/api/jobs"):
        assert client.get(path).status_code in (404, 405)


@pytest.mark.parametrize(
    "path",
    [
        "/api/songs/..%2f..%2fetc%2fpasswd",
        "/api/jobs/%2e%2e/stems/vocals.wav",
        f"/api/jobs/{NOBODY}/stems/..%2f..%2fx.wav",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        f"/api/songs/{NOBODY.upper()}0",
    ],
)
def test_paths_lead_nowhere_else(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code in (404, 422)


def test_the_list_of_the_api_needs_nobody_else(client: httpx.Client) -> None:
    page = client.get("/docs").text
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in page
    assert not re.search(r"https?://|<script|style=", page)
    assert client.get("/redoc").status_code == 404
