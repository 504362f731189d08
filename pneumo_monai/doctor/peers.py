"""Destinations, asked by C-ECHO (PS3.4 annex A) and for commitment (annex J), and the certificates on both sides."""

import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from pneumo_monai.commitment import commitment_context
from pneumo_monai.connections import DestinationTls, ListenerTls
from pneumo_monai.doctor.check import Check, good, wrong
from pneumo_monai.errors import ConfigurationError, DeliveryError
from pneumo_monai.sender import calling_entity, establish
from pneumo_monai.settings import Destination, Settings
from pneumo_monai.tls import SecureChannel, client_context, server_context, valid_until

__all__ = ["check_certificates", "check_commitments", "check_destinations", "echo"]

_TIMEOUT_SECONDS = 10.0
_DAY_SECONDS = 86_400
_SOON_DAYS = 30


def check_destinations(settings: Settings) -> Iterator[Check]:
    """Ask every destination whether it is there and knows us; all at once, for some may not answer."""
    if not settings.destinations:
        yield wrong("destinations", "there are none", "name the PACS under destinations: results go nowhere")
        return
    with ThreadPoolExecutor(max_workers=16) as pool:
        yield from pool.map(lambda peer: echo(peer, settings.listener.ae_title), settings.destinations)


def echo(peer: Destination, calling_ae_title: str) -> Check:
    """Send one C-ECHO to a destination, as results go there: same title, same TLS."""
    name = f"destination {peer.name}"
    where = f"{peer.ae_title}@{peer.host}:{peer.port}"
    entity = calling_entity(calling_ae_title)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _TIMEOUT_SECONDS
    entity.add_requested_context(Verification)
    try:
        secure = None if peer.tls is None else SecureChannel(peer.tls, peer.host)
    except ConfigurationError as error:
        return wrong(name, str(error))
    tls_args = None if secure is None else (secure.context, secure.server_name)
    try:
        association = entity.associate(peer.host, peer.port, ae_title=peer.ae_title, tls_args=tls_args)
    except OSError as error:
        return wrong(name, f"{where} cannot be reached ({error.strerror})", "correct its host")
    if association.is_established:
        status = association.send_c_echo()
        association.release()
        if status and status.Status == 0x0000:
            return good(name, f"{where} answers C-ECHO to {calling_ae_title}")
        return wrong(name, f"{where} took the association and did not answer C-ECHO", "look at its log")
    if association.is_rejected:
        reply = association.acceptor.primitive
        return wrong(
            name,
            f"{where} rejects {calling_ae_title} ({reply.reason_str if reply else 'no reason'})",
            f"enter {calling_ae_title} there, and compare its ae_title",
        )
    if association.rejected_contexts:
        return good(name, f"{where} takes associations of {calling_ae_title}, and knows no C-ECHO")
    why = f" ({secure.failure})" if secure is not None and secure.failure else ""
    return wrong(name, f"{where} cannot be reached{why}", "correct its host, port and tls, and look at the firewall")


def check_commitments(settings: Settings) -> Iterator[Check]:
    """Propose the Storage Commitment Push Model where the settings ask for commitment; nothing is asked for."""
    for peer in settings.destinations:
        if (chosen := peer.storage_commitment) is None:
            continue
        name = f"storage commitment of {peer.name}"
        entity = calling_entity(settings.listener.ae_title)
        entity.connection_timeout = entity.acse_timeout = entity.network_timeout = _TIMEOUT_SECONDS
        entity.add_requested_context(commitment_context())
        called, host, port = chosen.ae_title or peer.ae_title, chosen.host or peer.host, chosen.port or peer.port
        try:
            association, where = establish(entity, host=host, port=port, called_ae_title=called, tls=peer.tls)
        except DeliveryError as error:
            yield wrong(
                name, str(error), f"correct destinations[].storage_commitment, or enter {entity.ae_title} there"
            )
            continue
        if association.accepted_contexts:
            association.release()
            yield good(name, f"{where} accepts requests of {entity.ae_title}")
        else:
            remedy = "turn it on there, or set destinations[].storage_commitment to null"
            yield wrong(name, f"{where} does not accept the Storage Commitment Push Model", remedy)


def check_certificates(settings: Settings) -> Iterator[Check]:
    """Load every certificate as a start would, and look until when it and its authorities are valid."""
    sections: list[tuple[str, ListenerTls | DestinationTls]] = []
    if settings.listener.tls is not None:
        sections.append(("listener.tls", settings.listener.tls))
    sections += [(f"destinations[{n}].tls", d.tls) for n, d in enumerate(settings.destinations) if d.tls is not None]
    for key, section in sections:
        try:
            yield _expiry(key, section)
        except ConfigurationError as error:
            yield wrong(f"certificates of {key}", str(error))
            continue
        if section.key is not None:
            yield _secrecy(f"{key}.key", section.key)


def _expiry(key: str, section: ListenerTls | DestinationTls) -> Check:
    context = server_context(section, key) if isinstance(section, ListenerTls) else client_context(section, key)
    ends = {"our certificate": until} if (until := valid_until(section, key)) is not None else {}
    if section.authorities is not None:
        dates = [ssl.cert_time_to_seconds(str(authority["notAfter"])) for authority in context.get_ca_certs()]
        ends |= {"an authority": min(dates)} if dates else {}
    name = f"certificates of {key}"
    if not ends:
        return good(name, "none of ours; the system's authorities are trusted")
    what, first = min(ends.items(), key=lambda end: end[1])
    days = int((first - time.time()) // _DAY_SECONDS)
    if days < _SOON_DAYS:
        return wrong(
            name, f"{what} expires in {days} days", "ask for a new one now, and start the service again with it"
        )
    return good(name, f"valid for {days} more days")


def _secrecy(key: str, file: Path) -> Check:
    try:
        is_open = bool(file.stat().st_mode & 0o077)
    except OSError as error:
        return wrong(key, f"{file} cannot be looked at ({error.strerror})", "name a file that this user may read")
    if is_open:
        return wrong(key, f"{file} can be read by other users of this machine", f"chmod 400 {file}")
    return good(key, f"{file} is closed to other users")
