"""What travels in a secure aggregation beside weights and masked vectors, as tables: bytes by client, by name.

Tables of the stages, each way:

    advertise   terms                                               -> share_key, mask_key, signature, identity
    share       terms; share_key, mask_key, signature, identity     -> sealed, by receiver
    train       terms; sealed, by sender                            -> (the masked vector, in place of weights)
    unmask      terms; survivors, dropped                           -> self_seeds, mask_keys
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fedmetric.errors import ProtocolError
from fedmetric.privacy.secure.messages import Advertisement, Unmasking
from fedmetric.privacy.secure.server import Roll
from fedmetric.privacy.secure.terms import Terms

Tables = Mapping[str, Mapping[int, bytes]]
NO_TABLES: Tables = {}
MASKED = "masked"
"""Name of the masked vector among an update's arrays."""
IDENTITY = "identity"
"""Name of the table of public keys, PEM, by which signatures are checked."""
_ADVERTISED = ("share_key", "mask_key", "signature")
_PROPOSED = 0


def num_table_bytes(tables: Tables) -> int:
    """Count the bytes of all tables, without names and numbers."""
    return sum(len(value) for table in tables.values() for value in table.values())


def table_of(tables: Tables, name: str) -> Mapping[int, bytes]:
    """Return one table.

    Raises:
        ProtocolError: it is not there.
    """
    if name not in tables:
        raise ProtocolError(f"a message of a secure aggregation lacks '{name}'; it holds {sorted(tables)}")
    return tables[name]


def pack_terms(terms: Terms) -> Tables:
    """Write the terms."""
    return {"terms": {_PROPOSED: terms.to_json()}}


def read_terms(tables: Tables) -> Terms:
    """Read what `pack_terms` wrote.

    Raises:
        ProtocolError: there are none, or a value is outside its range.
    """
    return Terms.from_json(table_of(tables, "terms").get(_PROPOSED, b""))


def pack_advertised(advertised: Iterable[Advertisement], identities: Mapping[int, bytes]) -> Tables:
    """Write advertised keys, and the public key of each client's identity."""
    listed = list(advertised)
    found = {name: {one.client: bytes(getattr(one, name)) for one in listed} for name in _ADVERTISED}
    return {**found, IDENTITY: {one.client: identities[one.client] for one in listed}}


def read_advertised(tables: Tables) -> tuple[list[Advertisement], Mapping[int, bytes]]:
    """Read what `pack_advertised` wrote.

    Raises:
        ProtocolError: a table is missing, or they name different clients.
    """
    columns = [table_of(tables, name) for name in (*_ADVERTISED, IDENTITY)]
    clients = set(columns[0])
    if any(set(column) != clients for column in columns):
        raise ProtocolError("the tables of advertised keys name different clients")
    return [Advertisement(client, *(column[client] for column in columns[:-1])) for client in sorted(clients)], columns[
        -1
    ]


def pack_roll(roll: Roll) -> Tables:
    """Write who survived and who dropped out."""
    return {"survivors": dict.fromkeys(roll.survivors, b""), "dropped": dict.fromkeys(roll.dropped, b"")}


def read_roll(tables: Tables) -> Roll:
    """Read what `pack_roll` wrote.

    Raises:
        ProtocolError: a table is missing.
    """
    return Roll(tuple(sorted(table_of(tables, "survivors"))), tuple(sorted(table_of(tables, "dropped"))))


def pack_unmasking(unmasking: Unmasking) -> Tables:
    """Write a client's shares."""
    return {"self_seeds": unmasking.self_seeds, "mask_keys": unmasking.mask_keys}


def read_unmasking(tables: Tables) -> Unmasking:
    """Read what `pack_unmasking` wrote.

    Raises:
        ProtocolError: a table is missing.
    """
    return Unmasking(table_of(tables, "self_seeds"), table_of(tables, "mask_keys"))
