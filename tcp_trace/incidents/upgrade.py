"""What version 1 saved, as version 2 would have: when all that failed were connects.

It knew destinations and reasons where there are subjects and causes of many kinds now.
"""

from __future__ import annotations

from typing import Any

_KIND = "destination"


def notification(data: dict[str, Any]) -> dict[str, Any]:
    """Return a notification of version 1 as one of version 2, and any other as it is."""
    if data.get("version") != 1:
        return data
    new = {**data, "version": 2, "subject": _named(data["destination"])}
    count = new.pop("destinations")
    new["kinds"] = [] if new.pop("destination") else [[_KIND, count]]
    new["causes"] = [_cause(dict(each)) for each in new.pop("reasons")]
    new["top"] = [_top(dict(each)) for each in data["top"]]
    new.setdefault("hosts", [])
    return new


def state(saved: dict[str, Any]) -> dict[str, Any]:
    """Return a state of version 1 as one of version 2, and any other as it is."""
    if saved["version"] != 1:
        return saved
    storm = saved["storm"]
    return {
        **saved,
        "version": 2,
        "incidents": [_account(each) for each in saved["incidents"]],
        "storm": None if storm is None else _storm(storm),
        "places": [],
        "ended": [[key and [*_whole(key), _KIND], *rest] for key, *rest in saved["ended"]],
        # A state saved before there were silences has none of these.
        "recent": [_entry(dict(each)) for each in saved.get("recent", ())],
    }


def _named(destination: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if destination is None else {**destination, "kind": _KIND}


def _cause(reason: dict[str, Any]) -> dict[str, Any]:
    name, failures = reason.pop("reason"), reason.pop("failures")
    return {"kind": _KIND, "cause": name, "failures": failures, "evidence": reason}


def _top(count: dict[str, Any]) -> dict[str, Any]:
    return {"subject": _named(count.pop("destination")), **count}


def _whole(destination: list[Any]) -> list[Any]:
    """Return the fields of a destination, with those that it did not have yet."""
    return [*destination, *(0, 0, "")[len(destination) - 2 :]]


def _account(saved: dict[str, Any]) -> dict[str, Any]:
    tally = {**saved["tally"], "addresses": []}
    tally["causes"] = [
        [_KIND, reason, failures, evidence] for reason, failures, *evidence in tally.pop("reasons")
    ]
    new = {**saved, "tally": tally}
    if "destination" in new:
        new["subject"] = [*_whole(new.pop("destination")), _KIND]
    return new


def _storm(saved: dict[str, Any]) -> dict[str, Any]:
    members = [[[*_whole(each[:-3]), _KIND], *each[-3:]] for each in saved["members"]]
    return {**_account(saved), "members": members, "addresses": [None] * len(members)}


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    subject, count = entry.pop("destination"), entry.pop("destinations")
    return {"subject": subject, "subjects": {_KIND: count}, "addresses": [], **entry}
