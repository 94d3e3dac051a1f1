"""Stage 1: let the wanted probes be compiled and attached, then become stage 2.

It runs with privileges, for seconds, and talks to nobody.
"""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, NoReturn

from tcp_trace import resources
from tcp_trace.host import netns
from tcp_trace.host.serviceuser import name_of
from tcp_trace.kernel import confinement, fdstore, handover, loader, readiness
from tcp_trace.kernel.contract import StartError
from tcp_trace.kernel.findings import Level
from tcp_trace.probes import registry
from tcp_trace.probes.connect import ring_bytes
from tcp_trace.service import kept
from tcp_trace.settings import environment, requirements

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcp_trace.kernel.kept import Kept
    from tcp_trace.kernel.privileges import Account
    from tcp_trace.settings.config import Settings


def start(settings: Settings, account: Account) -> NoReturn:
    """Attach what the configuration asks for and become the unprivileged stage 2.

    Raises StartError with the reason and the remedy.
    """
    received, store = fdstore.received(os.environ), fdstore.Store(os.environ)
    environment.restrict()
    _require(account)
    try:
        found = kept.find(received, store)
        current = _current(settings, account, found, store)
        others = [each for each in found.kept if each.group != current.group]
        former = kept.replace(current, others, store)
    except OSError as error:
        raise StartError(
            f"the kernel program cannot be taken over: {error.strerror or error}"
        ) from error
    facts: dict[str, str | bool | int] = {**current.notes, "seccomp": _confine()}
    handover.execute(
        handover.Handover(
            attached=current.attached,
            maps=current.maps,
            ring_bytes=ring_bytes(settings),
            facts=facts,
            former=former,
        ),
        account,
        environment.allowed(os.environ),
    )


def _current(settings: Settings, account: Account, found: kept.Found, store: fdstore.Store) -> Kept:
    """Return the program that is wanted: the one that was kept, or one that is compiled now."""
    made_of = loader.inputs(
        registry.wanted(settings), settings, common(account), resources.directory("bpf")
    )
    current = found.of(made_of)
    if current is not None:
        return current._replace(notes={**current.notes, "taken_over": "yes"})
    loaded = load(settings, account)
    notes = _facts(loaded)
    made = kept.keep(loaded, notes, store)
    why = found.why_not(made_of)
    return made._replace(notes={**made.notes, "compiled_anew": why}) if why else made


def load(settings: Settings, account: Account) -> loader.Loaded:
    """Compile and attach the wanted probes. Raises StartError."""
    return loader.load(
        registry.wanted(settings), settings, common(account), resources.directory("bpf")
    )


def common(account: Account) -> Mapping[str, int]:
    """Return the constants of all probes."""
    return {
        "SELF_UID": account.uid,
        "OWN_NETNS": netns.own(),
    }


def _require(account: Account) -> None:
    """Raise StartError where something is missing that shows before anything is compiled."""
    closed = handover.unreadable(account, resources.directory("tcp_trace"))
    if closed is not None:
        raise StartError(
            f"the service goes on as user {name_of(account.uid)}, who may not enter {closed}: "
            "install it with 'make install', or put the checkout elsewhere"
        )
    if missing := list(requirements.missing()):
        raise StartError("; ".join(map(str, missing)))
    privileges = readiness.privileges()
    if privileges.level is Level.FAIL:
        raise StartError(
            f"a kernel program cannot be loaded: {privileges.detail}; {privileges.fix}"
        )


def _facts(loaded: loader.Loaded) -> dict[str, str]:
    """Return what the log's line `watching` says of it."""
    return {
        "kernel": platform.release(),
        "layout": loaded.layout.source,
        **loaded.notes,
    }


def _confine() -> bool:
    try:
        return confinement.forbid()
    except confinement.ConfinementError as error:
        raise StartError(str(error)) from None
