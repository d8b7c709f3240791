"""Messages of a secure aggregation as tables: what is written is what is read, through Flower's records too."""

from __future__ import annotations

import pytest
from flwr.app import ConfigRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto

from fedmetric.errors import ProtocolError
from fedmetric.privacy.secure.messages import Advertisement, Unmasking
from fedmetric.privacy.secure.server import Roll
from fedmetric.privacy.secure.tables import (
    Tables,
    num_table_bytes,
    pack_advertised,
    pack_roll,
    pack_terms,
    pack_unmasking,
    read_advertised,
    read_roll,
    read_terms,
    read_unmasking,
)
from fedmetric.privacy.secure.terms import Terms
from fedmetric.wire import Answer, pack_answer, pack_tables, unpack_answer, unpack_tables

TERMS = Terms("run", 3, 4, 3, 10, 0.1)
ADVERTISED = [Advertisement(client, b"s%d" % client, b"m%d" % client, bytes(client)) for client in (0, 2, 5)]
IDENTITIES = {0: b"zero", 2: b"two", 5: b"five"}


def sent(tables: Tables) -> Tables:
    """Return tables as they come out of Flower's own bytes."""
    return unpack_tables(recorddict_from_proto(recorddict_to_proto(RecordDict({"secure": pack_tables(tables)}))))


def test_what_is_written_is_what_is_read() -> None:
    assert read_terms(sent(pack_terms(TERMS))) == TERMS
    assert read_advertised(sent(pack_advertised(ADVERTISED, IDENTITIES))) == (ADVERTISED, IDENTITIES)
    for roll in (Roll((0, 2, 5), ()), Roll((0, 5), (2,))):
        assert read_roll(sent(pack_roll(roll))) == roll
    for unmasking in (Unmasking({0: b"a", 1: b"b"}, {}), Unmasking({0: b"a"}, {1: b"c"})):
        assert read_unmasking(sent(pack_unmasking(unmasking))) == unmasking


def test_bytes_are_those_of_the_values() -> None:
    assert num_table_bytes({"a": {0: b"123", 1: b""}, "b": {2: b"4"}}) == 4


def test_a_table_that_is_missing_is_named() -> None:
    with pytest.raises(ProtocolError, match=r"lacks 'survivors'; it holds \['dropped'\]"):
        read_roll({"dropped": {}})
    with pytest.raises(ProtocolError, match="lacks 'terms'"):
        read_terms({})
    tables = dict(pack_advertised(ADVERTISED, IDENTITIES))
    with pytest.raises(ProtocolError, match="tables of advertised keys name different clients"):
        read_advertised({**tables, "identity": {0: b"zero"}})


@pytest.mark.parametrize(
    "record",
    [
        {"a": [b"1"]},
        {"a": b"1", "a.clients": [1]},
        {"a": [b"1", b"2"], "a.clients": [1, 1]},
        {"a": [b"1", b"2"], "a.clients": [1]},
        {"a": ["1"], "a.clients": [1]},
        {"a": [b"1"], "a.clients": [1.0]},
    ],
)
def test_what_is_no_table_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(ProtocolError, match="'a' is no table"):
        unpack_tables(RecordDict({"secure": ConfigRecord(record)}))  # type: ignore[arg-type]


def test_an_answer_is_read_for_the_round_and_client_that_were_asked_only() -> None:
    content = pack_answer(Answer(2, {"sealed": {1: b"x"}}), 3)
    assert unpack_answer(content, 3, 2) == Answer(2, {"sealed": {1: b"x"}})
    for round, client in ((4, 2), (3, 1)):
        with pytest.raises(ProtocolError, match="the reply is for"):
            unpack_answer(content, round, client)
