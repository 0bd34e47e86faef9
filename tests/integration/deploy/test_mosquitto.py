"""The Mosquitto configuration that deploy/ ships, in a real Mosquitto."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path
from queue import Empty

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from protocol.messages import MESSAGE_BYTES_MAX
from protocol.topics import Kind, Topic, TopicSpace
from tests.integration.deploy.shipped_broker import DEADLINE_S, Client, ShippedBroker, install

pytestmark = pytest.mark.integration
SPACE = TopicSpace()
QUIET_S = 0.3
ACCEPTED = ("Success", "No matching subscribers")


def topic(kind: Kind, device_id: str) -> str:
    return SPACE.render(Topic(kind, device_id=device_id))


def certify(folder: Path) -> None:
    """A CA and the server's certificate for localhost."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    ca = _certificate(issuer, issuer, ca_key, ca_key, x509.BasicConstraints(True, 0))
    server = _certificate(subject, issuer, key, ca_key, names)
    (folder / "ca.crt").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "server.crt").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    ca_key: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(extension, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> ShippedBroker:
    broker = install(tmp_path_factory.mktemp("broker"), ["hub", "line-1", "line-2"])
    certify(broker.folder / "tls")
    return broker


@pytest.fixture
def broker(installed: ShippedBroker) -> Iterator[ShippedBroker]:
    with installed.running():
        yield installed


def nothing_more(client: Client) -> bool:
    try:
        client.received.get(timeout=QUIET_S)
    except Empty:
        return True
    return False


@pytest.mark.parametrize(("user", "password"), [("", ""), ("line-1", "guess"), ("ghost", "x")])
def test_nobody_comes_in_without_the_password(
    broker: ShippedBroker, user: str, password: str
) -> None:
    with broker.client(user, password) as client:
        assert client.refusal == "Not authorized"


def test_a_device_speaks_as_itself_and_hears_what_is_meant_for_it(broker: ShippedBroker) -> None:
    with broker.client("hub") as hub, broker.client("line-1") as one:
        hub.subscribe(SPACE.filter(Kind.TELEMETRY))
        one.subscribe(SPACE.filter(Kind.DESIRED))

        assert one.publish(topic(Kind.TELEMETRY, "line-1"), b"mine") == "Success"
        assert one.publish(topic(Kind.TELEMETRY, "line-2"), b"forged") == "Not authorized"
        assert one.publish(topic(Kind.DESIRED, "line-1"), b"forged") == "Not authorized"
        hub.publish(topic(Kind.DESIRED, "line-2"), b"not for you")
        hub.publish(topic(Kind.DESIRED, "line-1"), b"for you")

        assert hub.received.get(timeout=DEADLINE_S) == (topic(Kind.TELEMETRY, "line-1"), b"mine")
        assert one.received.get(timeout=DEADLINE_S) == (topic(Kind.DESIRED, "line-1"), b"for you")
        assert nothing_more(hub)
        assert nothing_more(one)


def test_the_largest_message_passes_and_the_limit_is_told(broker: ShippedBroker) -> None:
    with broker.client("hub") as hub, broker.client("line-1") as one:
        hub.subscribe(SPACE.filter(Kind.EVENTS))

        assert one.publish(topic(Kind.EVENTS, "line-1"), bytes(MESSAGE_BYTES_MAX)) == "Success"
        assert len(hub.received.get(timeout=DEADLINE_S)[1]) == MESSAGE_BYTES_MAX
        assert MESSAGE_BYTES_MAX < one.packet_bytes_max < 1.1 * MESSAGE_BYTES_MAX


def test_tls_with_the_shipped_listener(broker: ShippedBroker) -> None:
    with broker.client("line-1", tls=True) as one:
        assert one.refusal == ""
        assert one.publish(topic(Kind.PRESENCE, "line-1"), b"over TLS", retain=True) in ACCEPTED


def test_what_is_retained_survives_a_restart(installed: ShippedBroker) -> None:
    with installed.running(), installed.client("hub") as hub:
        hub.publish(topic(Kind.DESIRED, "line-1"), b"kept", retain=True)
    with installed.running(), installed.client("line-1") as one:
        one.subscribe(SPACE.filter(Kind.DESIRED, device_id="line-1"))
        assert one.received.get(timeout=DEADLINE_S)[1] == b"kept"
