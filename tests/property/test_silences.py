"""Whatever `silence add` accepts, the service reads as it was meant."""

from __future__ import annotations

import json
import tempfile
from argparse import Namespace
from pathlib import Path

from hypothesis import event, given, settings
from hypothesis import strategies as st

from tcp_trace.commands import silencing
from tcp_trace.connects.reasons import Reason
from tcp_trace.connects.watch import EVERYTHING
from tcp_trace.silences import silencefile
from tcp_trace.silences.match import Match
from tcp_trace.silences.silences import Silence

_ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map("[{}]".format),
    st.ip_addresses(v=4).map("::ffff:{}".format),
    st.sampled_from(["10.0.0.0/8", "[2001:db8::]/32", "::/0", "0.0.0.0/0", "::ffff:0:0/96", ""]),
)
_PORTS = st.one_of(st.just(""), st.integers(-1, 65536).map(":{}".format))
_PLACES = st.one_of(
    st.builds("{}{}".format, _ADDRESSES, _PORTS),
    st.sampled_from(["all", "ALL", ":81", "::", ",", " "]),
    st.builds("{}{}".format, st.text("aZ0.*?-_", max_size=12), _PORTS),
    st.text("al:0123.[]/, =%", max_size=8),
)
_WORDS = st.one_of(st.text(max_size=18), st.text("ab=,.*?[]@ \u3000\x85\xa0:'", max_size=16))


@given(
    st.lists(st.lists(_PLACES, min_size=1, max_size=3).map(",".join), max_size=3),
    st.lists(_WORDS, max_size=2),
    st.lists(_WORDS, max_size=2),
    st.lists(st.sampled_from([reason.value for reason in Reason]), max_size=2),
    st.text(max_size=30),
)
@settings(max_examples=400, deadline=None)
def test_what_is_accepted_is_read_back(
    places: list[str],
    processes: list[str],
    makers: list[str],
    reasons: list[str],
    comment: str,
) -> None:
    """The match in the file is that of the arguments; everything is only what says so."""
    args = Namespace(destinations=places, process=processes, unit=makers, reason=reasons)
    args.pod = args.container = makers
    try:
        match = silencing._match(args)
    except ValueError:
        event("refused")
        return
    event("accepted")
    assert match != Match()
    if EVERYTHING in match.destinations:
        assert any("all" in each.lower() or "::/0" in each for each in places)
    with tempfile.TemporaryDirectory() as name:
        added = silencefile.add(Path(name), Silence("", match, 0.0, 10.0, comment))
        found = silencefile.read(Path(name) / silencefile.NAME)
    assert (found.silences, found.unread) == ((added,), ())
    assert found.silences[0].match == match


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
_ENTRIES = _JSON | st.fixed_dictionaries(
    {
        "id": _JSON,
        "match": _JSON | st.just("all"),
        "begins": _JSON | st.just(0),
        "ends": _JSON | st.just(1e300),
        "comment": _JSON,
    }
)


@given(st.lists(_ENTRIES, max_size=4))
@settings(deadline=None)
def test_whatever_is_in_the_file_costs_no_good_entry(entries: list[object]) -> None:
    """Any JSON may stand beside a good silence: that one holds, and all of it is kept."""
    good = Silence("good", Match((EVERYTHING,)), 0.0, 10.0).to_dict()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / silencefile.NAME
        path.write_text(json.dumps({"silences": [*entries, good]}))
        found = silencefile.read(path)
        assert any(each.id == "good" for each in found.silences)
        assert len(found.silences) + len(found.unread) == len(entries) + 1
        silencefile.add(Path(name), Silence("", Match((EVERYTHING,)), 0.0, 10.0))
        assert len(silencefile.read(path).unread) == len(found.unread)
