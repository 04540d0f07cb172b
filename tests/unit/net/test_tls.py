"""Associations over TLS: profiles, mutual authentication, what is refused and how that is told, certificates changed live."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from pathlib import Path

import pytest

from fileroom.core.errors import PeerRefusedError
from fileroom.net.tls import PeerTls, ServerTls, Trust, client_tls, server_context
from tls_material import Issued, alone, authority
from unit.net.test_association_server import CT, EXPLICIT, open_to

DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def root() -> Issued:
    return authority()


@pytest.fixture(scope="module")
def server(root: Issued) -> Issued:
    return root.issue("archive")


def serving(own: Issued, trust: Trust, folder: Path, clients="required"):
    """What a port gives for every connection."""
    made = ServerTls(server_context(own.pair(folder), trust, clients), trust)
    return lambda: made


async def refusal_of(port: int, tls) -> str:
    """Why our call did not come through."""
    with pytest.raises(PeerRefusedError) as caught:
        async with open_to(port, tls=tls) as association:
            await association.echo()
    return str(caught.value)


async def test_an_object_over_mutual_tls(served, root, server, tmp_path) -> None:
    port = await served.start(tls=serving(server, root.trust, tmp_path))
    client = root.issue("scanner")
    data = bytes(range(256)) * 30_000
    async with open_to(port, tls=client_tls(client.pair(tmp_path), root.trust, PeerTls())) as association:
        assert (await association.store(CT, "1.2.3", EXPLICIT, data)).status == 0
    peer = served.handlers[0].peer
    assert served.handlers[0].stored == [("1.2.3", data)]
    assert peer.tls
    assert peer.certificate is not None
    assert peer.certificate.subject == "CN=scanner"
    assert served.refused == []


async def test_who_shows_no_certificate_is_refused_where_one_is_required(served, root, server, tmp_path) -> None:
    port = await served.start(tls=serving(server, root.trust, tmp_path))
    await refusal_of(port, client_tls(None, root.trust, PeerTls()))
    assert served.refused == ["it showed no certificate; give it one from a trusted issuer"]
    assert served.handlers == []


@pytest.mark.parametrize("clients", ["optional", "off"])
async def test_elsewhere_nobody_needs_one(served, root, server, tmp_path, clients) -> None:
    port = await served.start(tls=serving(server, root.trust, tmp_path, clients))
    async with open_to(port, tls=client_tls(None, root.trust, PeerTls())) as association:
        assert (await association.echo()).status == 0
    assert served.handlers[0].peer.certificate is None


async def test_an_optional_certificate_must_still_be_good(served, root, server, tmp_path) -> None:
    port = await served.start(tls=serving(server, root.trust, tmp_path, "optional"))
    stranger = authority("Other").issue("stranger").pair(tmp_path)
    await refusal_of(port, client_tls(stranger, root.trust, PeerTls()))
    assert len(served.refused) == 1
    assert "not trusted" in served.refused[0]


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"begins": -3 * DAY, "ends": -DAY}, "has expired"), ({"begins": DAY, "ends": 2 * DAY}, "not valid yet")],
)
async def test_a_certificate_out_of_its_time_is_refused(served, root, server, tmp_path, options, reason) -> None:
    port = await served.start(tls=serving(server, root.trust, tmp_path))
    late = root.issue("late", **options).pair(tmp_path)
    await refusal_of(port, client_tls(late, root.trust, PeerTls()))
    assert reason in served.refused[0]


async def test_a_revoked_certificate_is_refused(served, root, server, tmp_path) -> None:
    lost, kept = root.issue("lost"), root.issue("kept")
    revoked = {root.certificate.subject.public_bytes(): frozenset({lost.certificate.serial_number})}
    port = await served.start(tls=serving(server, Trust(root.pem, revoked), tmp_path))
    await refusal_of(port, client_tls(lost.pair(tmp_path), root.trust, PeerTls()))
    assert "revoked" in served.refused[0]
    async with open_to(port, tls=client_tls(kept.pair(tmp_path), root.trust, PeerTls())) as association:
        assert (await association.echo()).status == 0


async def test_our_call_refuses_an_expired_peer(served, root, tmp_path) -> None:
    expired = root.issue("old archive", begins=-3 * DAY, ends=-DAY)
    port = await served.start(tls=serving(expired, root.trust, tmp_path, "off"))
    assert "its certificate has expired" in await refusal_of(port, client_tls(None, root.trust, PeerTls()))
    pinned = PeerTls(fingerprint=fingerprint(expired))
    assert "its certificate has expired" in await refusal_of(port, client_tls(None, Trust(), pinned))


async def test_our_call_refuses_a_peer_of_another_name(served, root, tmp_path) -> None:
    elsewhere = root.issue("elsewhere", names=("elsewhere.example",))
    port = await served.start(tls=serving(elsewhere, root.trust, tmp_path, "off"))
    assert "for another" in await refusal_of(port, client_tls(None, root.trust, PeerTls()))
    async with open_to(port, tls=client_tls(None, root.trust, PeerTls(check_name=False))) as association:
        assert (await association.echo()).status == 0


async def test_our_call_can_want_a_subject_in_place_of_a_name(served, root, tmp_path) -> None:
    port = await served.start(tls=serving(root.issue("ct1", names=()), root.trust, tmp_path, "off"))
    async with open_to(port, tls=client_tls(None, root.trust, PeerTls(subject="cn=CT1"))) as association:
        assert (await association.echo()).status == 0
    assert "not of CN=ct2" in await refusal_of(port, client_tls(None, root.trust, PeerTls(subject="CN=ct2")))


async def test_a_pinned_certificate_is_enough_and_no_other_will_do(served, root, tmp_path) -> None:
    device = alone("device", names=())
    port = await served.start(tls=serving(device, root.trust, tmp_path, "off"))
    async with open_to(port, tls=client_tls(None, Trust(), PeerTls(fingerprint=fingerprint(device)))) as association:
        assert (await association.echo()).status == 0
    other = await refusal_of(port, client_tls(None, Trust(), PeerTls(fingerprint="0" * 64)))
    assert fingerprint(device) in other
    assert served.server is not None
    assert served.server.associations == 0


async def test_a_device_that_signs_for_itself_is_trusted_by_its_own_certificate(served, root, server, tmp_path) -> None:
    device = alone("device", names=())
    port = await served.start(tls=serving(server, device.trust, tmp_path))
    async with open_to(port, tls=client_tls(device.pair(tmp_path), root.trust, PeerTls())) as association:
        assert (await association.echo()).status == 0


async def test_a_chain_with_an_intermediate_issuer(served, root, tmp_path) -> None:
    between = root.issue("Intermediate", names=(), is_issuer=True)
    port = await served.start(tls=serving(between.issue("archive"), root.trust, tmp_path))
    client = between.issue("scanner").pair(tmp_path)
    async with open_to(port, tls=client_tls(client, root.trust, PeerTls())) as association:
        assert (await association.echo()).status == 0


async def test_a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on(served, root, server, tmp_path) -> None:
    shown = [serving(server, root.trust, tmp_path, "off")()]
    port = await served.start(tls=lambda: shown[-1])
    other_root = authority("Next Root")
    async with open_to(port, tls=client_tls(None, root.trust, PeerTls())) as early:
        shown.append(serving(other_root.issue("archive"), root.trust, tmp_path, "off")())
        async with open_to(port, tls=client_tls(None, other_root.trust, PeerTls())) as late:
            assert (await late.echo()).status == 0
            assert (await early.echo()).status == 0
    assert "not trusted" in await refusal_of(port, client_tls(None, root.trust, PeerTls()))


def shaken(port: int, **options) -> tuple[str, str]:
    """Version and suite that a handshake comes to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if "version" in options:
        context.minimum_version = context.maximum_version = options["version"]
    if "suites" in options:
        context.set_ciphers(options["suites"])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain, context.wrap_socket(plain) as secure:
        return secure.version() or "", (secure.cipher() or ("",))[0]


B_10_SUITES = (
    "DHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
)


@pytest.mark.parametrize("suite", B_10_SUITES)
async def test_every_suite_of_the_profile(served, root, tmp_path, suite) -> None:
    port = await served.start(tls=serving(root.issue("archive", kind="rsa"), root.trust, tmp_path, "off"))
    found = await asyncio.to_thread(shaken, port, version=ssl.TLSVersion.TLSv1_2, suites=suite)
    assert found == ("TLSv1.2", suite)


async def test_tls_1_3_is_preferred(served, root, server, tmp_path) -> None:
    port = await served.start(tls=serving(server, root.trust, tmp_path, "off"))
    assert (await asyncio.to_thread(shaken, port))[0] == "TLSv1.3"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "options",
    [
        {"version": ssl.TLSVersion.TLSv1_1, "suites": "ALL:@SECLEVEL=0"},
        {"version": ssl.TLSVersion.TLSv1_2, "suites": "AES128-GCM-SHA256"},
        {"version": ssl.TLSVersion.TLSv1_2, "suites": "ECDHE-RSA-AES128-SHA"},
    ],
    ids=["TLS 1.1", "no ephemeral key", "CBC"],
)
async def test_what_is_older_is_refused_and_told(served, root, tmp_path, options) -> None:
    port = await served.start(tls=serving(root.issue("archive", kind="rsa"), root.trust, tmp_path, "off"))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.to_thread(shaken, port, **options)
    assert len(served.refused) == 1
    assert "TLS before 1.2" in served.refused[0] or "cipher suite" in served.refused[0]


async def test_who_speaks_no_tls_is_told_from_who_fails_at_it(served, root, server, tmp_path) -> None:
    port = await served.start(tls=serving(server, root.trust, tmp_path))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x01\x00\x00\x00\x00\x44" + bytes(68))
    assert await reader.read() in (b"", b"\x15\x03\x01\x00\x02\x02\x46")
    writer.close()
    assert served.refused == ["what it speaks is not TLS"]


async def test_a_port_without_a_certificate_closes(served) -> None:
    port = await served.start(tls=lambda: None)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.read() == b""
    writer.close()
    assert "this port has no certificate" in served.refused[0]


def fingerprint(issued: Issued) -> str:
    from cryptography.hazmat.primitives import hashes

    return issued.certificate.fingerprint(hashes.SHA256()).hex()
