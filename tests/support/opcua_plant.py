"""An OPC UA bridge in its process, and clients of asyncua with certificates of their own."""

import datetime
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from asyncua import Client, ua
from asyncua.common.subscription import Subscription
from asyncua.crypto.cert_gen import dump_private_key_as_pem, generate_private_key
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from bridge_and_plc import Bridge
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PATIENCE_S = 120.0
PASSWORD = "a strip's colour"
_HASH = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
VISION, OWN = "http://opcfoundation.org/UA/MachineVision", "urn:linewatch:opcua"


@dataclass(frozen=True)
class ClientCertificate:
    """A client's certificate and key, as files. uri: the application URI in it."""

    certificate: Path
    key: Path
    uri: str

    @classmethod
    def made(cls, folder: Path, name: str, from_day: float = -1, to_day: float = 30) -> "ClientCertificate":
        """Make one that is valid from and to so many days from now."""
        key, uri = generate_private_key(), f"urn:test:{name}"
        subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), datetime.datetime.now(datetime.UTC)
        names = [x509.UniformResourceIdentifier(uri), x509.DNSName("localhost")]
        usage = x509.KeyUsage(True, True, True, True, False, False, False, False, False)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=from_day))
            .not_valid_after(now + datetime.timedelta(days=to_day))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
            .add_extension(usage, critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(key, hashes.SHA256())
        )
        one = cls(folder / f"{name}.der", folder / f"{name}.pem", uri)
        one.certificate.write_bytes(certificate.public_bytes(Encoding.DER))
        one.key.write_bytes(dump_private_key_as_pem(key))
        return one

    def trust(self, pki: Path) -> None:
        """Put it into a trust list by hand."""
        (pki / "trusted").mkdir(parents=True, exist_ok=True)
        (pki / "trusted" / self.certificate.name).write_bytes(self.certificate.read_bytes())


class OpcuaBridge(Bridge):
    """`linewatch bridge opcua` on a free port, with users `operator` and `observer`, and a client that it trusts."""

    patience_s = PATIENCE_S

    def __init__(self, folder: Path, service: Any, listen: str = "", more: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.pki = folder, folder / "pki"
        self.client = ClientCertificate.made(folder, "client")
        self.client.trust(self.pki)
        self.config = folder / "opcua.toml"
        commands = getattr(service, "commands", None)
        users = "".join(
            f'[[user]]\nname = "{name}"\nrole = "{name}"\npassword_hash = "{_HASH}"\n'
            for name in ("operator", "observer")
        )
        self.config.write_text(
            f'pki_dir = "{self.pki}"\n{more}\n[service]\npublish = "{service.publish}"\nserve = "{service.serve}"\n'
            + (f'[commands]\ncommands = "{commands}"\ngive_up_s = 60.0\n' if commands else "")
            + f"[listen]\nport = 0\n{listen}\n{users}"
        )
        super().__init__("opcua", self.config)
        self.port = self.wait_for("listening")["port"]
        self.url = f"opc.tcp://127.0.0.1:{self.port}"

    async def client_of(
        self, user: str | None, password: str = PASSWORD, own: ClientCertificate | None = None
    ) -> Client:
        """Return a client that is not connected yet. own: its certificate; None: the trusted one."""
        own = own or self.client
        client = Client(self.url, timeout=PATIENCE_S, watchdog_intervall=PATIENCE_S)  # a busy machine is no failure
        client.application_uri = own.uri
        await client.set_security(
            SecurityPolicyBasic256Sha256,
            str(own.certificate),
            str(own.key),
            server_certificate=str(self.pki / "own" / "certificate.der"),
        )
        if user is not None:
            client.set_user(user)
            client.set_password(password)
        return client

    @asynccontextmanager
    async def connected(self, user: str = "operator") -> AsyncIterator["Plant"]:
        """Connect as this user."""
        client = await self.client_of(user)
        async with client:
            yield await Plant.of(client)


class Plant:
    """A connected client, with short names for what a test reads."""

    def __init__(self, client: Client, vision: int, own: int) -> None:
        self.client, self.vision, self.own = client, vision, own

    @classmethod
    async def of(cls, client: Client) -> "Plant":
        await client.load_data_type_definitions()
        return cls(client, await client.get_namespace_index(VISION), await client.get_namespace_index(OWN))

    def node(self, name: str | int) -> Any:
        """Return a node of linewatch by its name, or of the companion specification by its number."""
        return self.client.get_node(ua.NodeId(name, self.own if isinstance(name, str) else self.vision))

    async def value(self, name: str) -> Any:
        return await self.node(name).read_value()

    async def call(self, parent: str, method: str, *arguments: Any) -> Any:
        return await self.node(parent).call_method(f"{self.vision}:{method}", *arguments)

    async def set_coil_data(self, coil: str, product: str = "", thickness_mm: float = 0.0) -> None:
        """Tell a coil's data by the method of linewatch's own; what is not given is not known."""
        texts, numbers = (coil, "", product, ""), (thickness_mm, 0.0, 0.0, 0.0, 0.0)
        await self.node("VisionSystem").call_method(f"{self.own}:SetCoilData", *texts, *numbers)

    async def call_type(self, condition: ua.NodeId, method: int, *arguments: Any) -> None:
        """Call a method of a condition by its ConditionId and the method's id in the condition's type."""
        request = ua.CallMethodRequest(ua.NodeId.from_string(condition.to_string()), ua.NodeId(method))
        request.InputArguments = [one if isinstance(one, ua.Variant) else ua.Variant(one) for one in arguments]
        (result,) = await self.client.uaclient.call([request])
        result.StatusCode.check()

    async def events(self, *kinds: Any) -> "Heard":
        """Subscribe to events of these types."""
        heard = Heard()
        subscription: Subscription = await self.client.create_subscription(50, heard)
        await subscription.subscribe_events(evtypes=list(kinds))
        heard.subscription = subscription
        return heard


class Heard:
    """The events and values of a subscription, in the order in which they came."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.values: list[Any] = []
        self.subscription: Subscription | None = None

    def event_notification(self, event: Any) -> None:
        fields = event.get_event_props_as_fields_dict()
        self.events.append({name: field.Value for name, field in fields.items()})

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        self.values.append(value)

    def status_change_notification(self, status: Any) -> None:
        pass


def ids_of(variants: Sequence[Any]) -> list[str]:
    """Return the ids of results."""
    return [one.ResultId.Id for one in variants]
