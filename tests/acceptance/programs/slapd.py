"""Debian's slapd as the hospital's directory: people, groups, groups in groups; TLS by a certificate of our own."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final

from acceptance.programs.processes import LOOPBACK, Server, accepts_connections, free_ports
from acceptance.programs.rsyslog import make_certificates

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # names that pyasn1 has renamed since
    import ldap3

PROGRAM: Final = "/usr/sbin/slapd"
SCHEMAS: Final = Path("/etc/ldap/schema")
_NEEDED: Final = ("core", "cosine", "inetorgperson")
BASE: Final = "dc=hospital,dc=example"
SERVICE_DN: Final = f"cn=fileroom,{BASE}"
SERVICE_PASSWORD: Final = "quiet-lamp-7"
PASSWORD: Final = "green-boat-in-may"

_CONFIGURATION: Final = """
{includes}
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
TLSCACertificateFile {folder}/ca.pem
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.key
TLSProtocolMin 3.3
security {security}
database mdb
suffix "{base}"
rootdn "cn=root,{base}"
rootpw root
directory {folder}/db
maxsize 16777216
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{service}" read by anonymous auth by * none
"""


def slapd_is_installed() -> bool:
    """Whether slapd is here with its schemas, and openssl to make certificates."""
    return (
        shutil.which("openssl") is not None
        and Path(PROGRAM).exists()
        and all((SCHEMAS / f"{name}.schema").exists() for name in _NEEDED)
    )


class Slapd:
    """A running slapd with nobody in it but Fileroom's own account; a context manager."""

    def __init__(self, folder: Path, *, security: str = "simple_bind=128") -> None:
        """`security`: by default a password over a connection without TLS is refused."""
        self.folder = folder
        self.port, self.tls_port = free_ports(2)
        (folder / "db").mkdir(parents=True)
        (folder / "schema").mkdir()
        make_certificates(folder)
        for name in _NEEDED:
            shutil.copy(SCHEMAS / f"{name}.schema", folder / "schema")
        includes = "\n".join(f"include {folder}/schema/{name}.schema" for name in _NEEDED)
        configuration = folder / "slapd.conf"
        configuration.write_text(
            _CONFIGURATION.format(includes=includes, folder=folder, base=BASE, service=SERVICE_DN, security=security)
        )
        urls = f"ldap://{LOOPBACK}:{self.port} ldaps://{LOOPBACK}:{self.tls_port}"
        self._server = Server([PROGRAM, "-f", configuration, "-h", urls, "-d", "stats"], folder / "slapd.log")

    def __enter__(self) -> Slapd:
        self.start()
        self._add(BASE, ["dcObject", "organization"], o="Hospital")
        for unit in ("people", "groups"):
            self._add(f"ou={unit},{BASE}", ["organizationalUnit"])
        self._add(SERVICE_DN, ["organizationalRole", "simpleSecurityObject"], userPassword=SERVICE_PASSWORD)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, again on the same ports."""
        self._server.start(lambda: accepts_connections(self.port) and accepts_connections(self.tls_port))

    def stop(self) -> None:
        """Stop it in order."""
        self._server.stop()

    @property
    def ldaps(self) -> str:
        """Its address with TLS from the first byte."""
        return f"ldaps://{LOOPBACK}:{self.tls_port}"

    @property
    def ldap(self) -> str:
        """Its address without, or with StartTLS."""
        return f"ldap://{LOOPBACK}:{self.port}"

    @property
    def settings(self) -> dict[str, object]:
        """Fileroom's settings that let people of it in; which groups give a role is left to the test."""
        return {
            "ldap_url": self.ldaps,
            "ldap_base": BASE,
            "ldap_bind_dn": SERVICE_DN,
            "ldap_bind_password": SERVICE_PASSWORD,
            "ldap_ca": str(self.folder / "ca.pem"),
        }

    def log_text(self) -> str:
        """What it was asked."""
        return self._server.log_path.read_text(errors="replace")

    # --- who is in it ---

    def add_person(self, login: str, name: str = "", password: str = PASSWORD) -> str:
        """Somebody; the DN."""
        dn = f"uid={login},ou=people,{BASE}"
        name = name or login
        values = {"cn": name, "sn": name.split()[-1], "displayName": name, "userPassword": password}
        self._add(dn, ["inetOrgPerson"], **values)
        return dn

    def remove(self, dn: str) -> None:
        """Somebody leaves."""
        self._do(lambda connection: connection.delete(dn))

    def rename_person(self, dn: str, login: str) -> str:
        """Somebody gets another login; the new DN."""
        self._do(lambda connection: connection.modify_dn(dn, f"uid={login}"))
        return f"uid={login},ou=people,{BASE}"

    def add_group(self, name: str, *members: str) -> str:
        """A group of people or groups; the DN."""
        dn = f"cn={name},ou=groups,{BASE}"
        self._add(dn, ["groupOfNames"], member=[SERVICE_DN, *members])  # a group has at least one member
        return dn

    def add_member(self, group: str, member: str) -> None:
        """Both by DN."""
        self._do(lambda connection: connection.modify(group, {"member": [(ldap3.MODIFY_ADD, [member])]}))

    def remove_member(self, group: str, member: str) -> None:
        """Both by DN."""
        self._do(lambda connection: connection.modify(group, {"member": [(ldap3.MODIFY_DELETE, [member])]}))

    def _add(self, dn: str, classes: list[str], **attributes: str | list[str]) -> None:
        self._do(lambda connection: connection.add(dn, classes, attributes))

    def _do(self, act: Callable[[ldap3.Connection], bool]) -> None:
        server = ldap3.Server(LOOPBACK, self.tls_port, use_ssl=True, get_info=ldap3.NONE)
        connection = ldap3.Connection(server, f"cn=root,{BASE}", "root", auto_bind=True)
        opened = connection.socket
        try:
            assert act(connection), connection.result
        finally:
            connection.unbind()
            opened.close()  # ldap3 leaves it open
