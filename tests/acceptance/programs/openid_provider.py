"""A small OpenID provider over TLS: authlib's authorization server (codes, PKCE, clients) in a thread, with faults at hand.

Whoever opens its page says who they are, and is believed.
"""

from __future__ import annotations

import base64
import hmac
import json
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from authlib.common.security import generate_token
from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core.grants import OpenIDCode
from joserfc import jwk, jwt

from acceptance.programs.processes import LOOPBACK, free_ports
from acceptance.programs.rsyslog import make_certificates

CLIENT_ID: Final = "fileroom"
CLIENT_SECRET: Final = "a b+c/d%e"  # signs that must be encoded twice (RFC 6749 2.3.1)
FAULTS: Final = (
    "wrong nonce",
    "no nonce",
    "wrong key",
    "wrong audience",
    "other party",
    "wrong issuer",
    "expired",
    "from the future",
    "alg none",
    "public key as secret",
    "cut signature",
    "no subject",
)
"""What may be wrong with an ID token."""


@dataclass
class Person:
    """Somebody whom the provider knows."""

    subject: str
    login: str
    name: str = ""
    groups: list[str] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Code:
    """What was granted; authlib asks for it by these names."""

    code: str
    client_id: str
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    code_challenge_method: str
    person: Person

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class _Client(ClientMixin):
    client_id = CLIENT_ID

    def __init__(self, redirect_uris: list[str]) -> None:
        self.redirect_uris = redirect_uris
        self.client_metadata: dict[str, str] = {}
        self.id_token_signed_response_alg = "RS256"

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_default_redirect_uri(self) -> str:
        return self.redirect_uris[0]

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


class _Request(OAuth2Request):
    def __init__(self, method: str, uri: str, form: dict[str, str], headers: dict[str, str]) -> None:
        super().__init__(method, uri, headers=headers)
        self._args, self._form = dict(parse_qsl(urlsplit(uri).query)), form
        self.payload = BasicOAuth2Payload(self._args | form)

    @property
    def args(self) -> dict[str, str]:
        return self._args

    @property
    def form(self) -> dict[str, str]:
        return self._form


class OpenIdProvider:
    """The provider; a context manager. `fault` is one of FAULTS or empty; `skew_s`: its clock goes so much ahead."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        make_certificates(folder)
        self.issuer = f"https://{LOOPBACK}:{self.port}/hospital"
        self.people: dict[str, Person] = {}
        self.redirect_uris: list[str] = []
        self.fault = ""
        self.skew_s = 0
        self.groups_in_userinfo = False
        self.logouts: list[dict[str, str]] = []
        self.asked: list[str] = []
        self.access_tokens: dict[str, Person] = {}
        self.codes: dict[str, _Code] = {}
        self.key = jwk.RSAKey.generate_key(2048, {"use": "sig"}, private=True)
        self.other_key = jwk.RSAKey.generate_key(2048, {"use": "sig"}, private=True)
        self.server = _authorization_server(self)
        self._http: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> OpenIdProvider:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, again on the same port."""
        handler = type("Handler", (_Handler,), {"provider": self})
        self._http = _Server((LOOPBACK, self.port), handler)
        self._http.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        """Nobody answers any more."""
        if self._http is not None and self._thread is not None:
            self._http.shutdown()
            self._http.server_close()
            self._thread.join()
            self._http = self._thread = None

    @property
    def ca(self) -> Path:
        """The certificate to check it by."""
        return self.folder / "ca.pem"

    @property
    def settings(self) -> dict[str, object]:
        """Fileroom's settings that let its people in; which groups give a role is left to the test."""
        return {
            "oidc_issuer": self.issuer,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": CLIENT_SECRET,
            "oidc_name": "Hospital ID",
            "oidc_ca": str(self.ca),
        }

    def add(self, person: Person) -> None:
        """Let somebody be known by their login."""
        self.people[person.login] = person

    def change_keys(self) -> None:
        """Sign by a new key from now on and show only that one."""
        self.key = jwk.RSAKey.generate_key(2048, {"use": "sig"}, private=True)

    def description(self) -> dict[str, Any]:
        """Discovery 1.0, 3."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "end_session_endpoint": f"{self.issuer}/logout",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        }

    def claims(self, person: Person) -> dict[str, Any]:
        """What it says of somebody."""
        more = {} if self.groups_in_userinfo else {"groups": person.groups}
        return {"sub": person.subject, "preferred_username": person.login, "name": person.name, **more, **person.more}

    def id_token(self, claims: dict[str, Any]) -> str:
        """The claims as they should be, signed as they should be; or with the fault that is switched on."""
        now = int(time.time()) + self.skew_s
        claims = claims | {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300}
        changes: dict[str, dict[str, Any]] = {
            "wrong nonce": {"nonce": "another"},
            "wrong audience": {"aud": "another-application"},
            "other party": {"aud": [CLIENT_ID, "another-application"], "azp": "another-application"},
            "wrong issuer": {"iss": "https://elsewhere.example"},
            "expired": {"iat": now - 7200, "exp": now - 3600},
            "from the future": {"iat": now + 3600, "exp": now + 7200},
        }
        claims |= changes.get(self.fault, {})
        if self.fault in ("no nonce", "no subject"):
            del claims["nonce" if self.fault == "no nonce" else "sub"]
        kid = self.key.thumbprint()
        if self.fault == "alg none":
            return f"{_signed_part('none', kid, claims)}."
        if self.fault == "public key as secret":
            signed = _signed_part("HS256", kid, claims)
            digest = hmac.digest(self.key.as_pem(private=False), signed.encode(), "sha256")
            return f"{signed}.{_unpadded(digest)}"
        key = self.other_key if self.fault == "wrong key" else self.key
        token = jwt.encode({"alg": "RS256", "kid": kid}, claims, key)
        return token.rpartition(".")[0] + "." if self.fault == "cut signature" else token


def _signed_part(algorithm: str, kid: str, claims: dict[str, Any]) -> str:
    header = {"alg": algorithm, "kid": kid}
    return ".".join(_unpadded(json.dumps(part).encode()) for part in (header, claims))


def _unpadded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _authorization_server(provider: OpenIdProvider) -> AuthorizationServer:
    class Server(AuthorizationServer):
        def query_client(self, client_id: str) -> _Client | None:
            return _Client(provider.redirect_uris) if client_id == CLIENT_ID else None

        def save_token(self, token: dict[str, Any], request: OAuth2Request) -> None:
            provider.access_tokens[token["access_token"]] = request.user

        def create_oauth2_request(self, request: _Request) -> _Request:
            return request

        def handle_response(self, status: int, body: Any, headers: Any) -> tuple[int, Any, dict[str, str]]:
            return status, body, dict(headers)

        def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
            pass

    class Grant(AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

        def save_authorization_code(self, code: str, request: OAuth2Request) -> None:
            asked = request.payload.data
            provider.codes[code] = _Code(
                code,
                CLIENT_ID,
                asked["redirect_uri"],
                asked["scope"],
                asked.get("nonce", ""),
                asked["code_challenge"],
                asked["code_challenge_method"],
                request.user,
            )

        def query_authorization_code(self, code: str, client: _Client) -> _Code | None:
            return provider.codes.get(code)

        def delete_authorization_code(self, authorization_code: _Code) -> None:
            del provider.codes[authorization_code.code]

        def authenticate_user(self, authorization_code: _Code) -> Person:
            return authorization_code.person

    class Code(OpenIDCode):
        def exists_nonce(self, nonce: str, request: OAuth2Request) -> bool:
            return any(code.nonce == nonce for code in provider.codes.values())

        def encode_id_token(self, token: dict[str, Any], request: OAuth2Request) -> str:
            said = self.get_authorization_code_claims(request.authorization_code)
            return provider.id_token(said | provider.claims(request.user))

    server = Server(["openid", "profile", "email"])
    server.register_token_generator("default", BearerTokenGenerator(lambda **_: generate_token(42)))
    server.register_grant(Grant, [CodeChallenge(required=True), Code(require_nonce=True)])
    return server


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers try whether they trust the certificate, and go."""


class _Handler(BaseHTTPRequestHandler):
    provider: OpenIdProvider
    timeout = 10

    def do_GET(self) -> None:
        path, provider = self._path(), self.provider
        if path == "/.well-known/openid-configuration":
            self._json(provider.description())
        elif path == "/keys":
            self._json({"keys": [provider.key.as_dict(private=False, kid=provider.key.thumbprint())]})
        elif path == "/userinfo":
            person = provider.access_tokens.get(self.headers.get("authorization", "").removeprefix("Bearer "))
            if person is None:
                self._send(401)
            else:
                self._json(provider.claims(person) | {"groups": person.groups})
        elif path == "/logout":
            provider.logouts.append(self._query())
            self._send(303, headers={"location": self._query()["post_logout_redirect_uri"]})
        elif path == "/authorize":
            page = '<form method="post"><input name="person"><button>Log in</button></form>'
            self._send(200, page.encode(), {"content-type": "text/html"})
        else:
            self._send(404)

    def do_POST(self) -> None:
        path, server = self._path(), self.provider.server
        length = int(self.headers.get("content-length", 0))
        form = dict(parse_qsl(self.rfile.read(length).decode()))
        headers = {name.title(): value for name, value in self.headers.items()}
        if path == "/token":
            self._answer(*server.create_token_response(_Request("POST", self._url(), form, headers)))
        elif path == "/authorize":
            request, person = (
                _Request("GET", self._url(), {}, headers),
                self.provider.people.get(form.get("person", "")),
            )
            try:
                grant = server.get_consent_grant(request, person)
            except OAuth2Error as error:
                self._answer(*server.handle_error_response(request, error))
            else:
                self._answer(*server.create_authorization_response(request, person, grant))
        else:
            self._send(404)

    def _url(self) -> str:
        return f"https://{LOOPBACK}:{self.provider.port}{self.path}"

    def _path(self) -> str:
        path = urlsplit(self.path).path.removeprefix("/hospital")
        self.provider.asked.append(path)
        return path

    def _query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query))

    def _json(self, value: dict[str, Any], status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"content-type": "application/json"})

    def _answer(self, status: int, body: Any, headers: dict[str, str]) -> None:
        if isinstance(body, dict):
            self._json(body, status)
        else:
            self._send(status, (body or "").encode(), headers)

    def _send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass
