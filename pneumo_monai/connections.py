"""Settings of connections: who may open an association, how long it may take, and TLS on both sides."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pneumo_monai.priority import Priority

__all__ = ["AETitle", "DestinationTls", "Limits", "ListenerTls", "Peer", "Profile", "Seconds", "Section", "is_loopback"]


def _ae_title(value: str) -> str:
    title = value.strip()
    if not 1 <= len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash (PS3.5 6.2, VR AE)")
    return title


def _address_range(value: str) -> str:
    try:
        return str(ip_network(value.strip()))
    except ValueError as error:
        raise ValueError(f"{error}; write an address such as 10.1.2.3 or a range such as 10.1.2.0/24") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host that is listened on."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


AETitle = Annotated[str, AfterValidator(_ae_title)]
AddressRange = Annotated[str, AfterValidator(_address_range)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

Profile = Literal["bcp195-rfc8996", "bcp195-rfc8996-modified", "bcp195-nd", "bcp195"]
"""Secure Transport Connection Profiles of PS3.15: B.12, B.13, and on request the older B.10 and B.9."""


class Section(BaseModel):
    """One mapping of the settings tree."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Peer(Section):
    """Who may open an association: a calling AE title, addresses, or both."""

    ae_title: AETitle | None = Field(default=None, description="Calling AE title; null: every title.")
    addresses: tuple[AddressRange, ...] = Field(default=(), description="Addresses and ranges; none: every address.")
    priority: Priority | None = Field(default=None, description="Of its films; null: as its C-STORE requests say.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.ae_title is None and not self.addresses:
            raise ValueError("set ae_title, addresses or both; leave listener.peers out to accept everybody")
        return self


class Limits(Section):
    """How much of us one peer, or all of them, may take up."""

    associations: int = Field(default=64, ge=1, le=1000, description="Open at once.")
    associations_per_address: int | None = Field(default=None, ge=1, description="Open at once from one address.")
    pdu_bytes: int = Field(default=128 * 1024, ge=4096, le=1 << 20, description="Maximum Length Received.")
    message_bytes: int = Field(default=1 << 30, ge=1 << 20, description="Of one DIMSE message, data set included.")
    disk_reserve_bytes: int = Field(default=1 << 30, ge=0, description="Kept free of data_dir's disk.")
    artim_timeout: Seconds = Field(default=30.0, description="From the connection to the whole A-ASSOCIATE-RQ.")
    network_timeout: Seconds = Field(default=60.0, description="Silence between two whole PDUs.")
    dimse_timeout: Seconds = Field(default=600.0, description="From the first byte of a message to its last.")


class _Tls(Section):
    profile: Profile = "bcp195-rfc8996"
    passphrase_file: Path | None = Field(default=None, description="File whose first line opens the key.")
    authorities: Path | None = Field(default=None, description="PEM file of the certificates that are trusted.")


class ListenerTls(_Tls):
    """TLS of the listener."""

    certificate: Path = Field(description="PEM file: our certificate, then those that lead to its authority.")
    key: Path = Field(description="PEM file of the private key.")
    client_certificates: Literal["require", "ignore"] = "require"

    @model_validator(mode="after")
    def _can_verify(self) -> Self:
        if self.client_certificates == "require" and self.authorities is None:
            raise ValueError(
                "authorities is missing; name the PEM file of the authority that signed the clients' certificates, "
                "or set client_certificates to ignore"
            )
        return self


class DestinationTls(_Tls):
    """TLS of an association with a destination."""

    certificate: Path | None = Field(default=None, description="PEM file: our certificate, for peers that ask.")
    key: Path | None = Field(default=None, description="PEM file of its private key.")
    check_server_name: bool = True
    server_name: str | None = Field(default=None, min_length=1, description="Name in its certificate; null: the host.")

    @model_validator(mode="before")
    @classmethod
    def _pair(cls, values: Any) -> Any:
        if isinstance(values, dict) and (values.get("certificate") is None) != (values.get("key") is None):
            raise ValueError("certificate and key belong together; set both or neither")
        return values
