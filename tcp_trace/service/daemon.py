"""Stage 2: wires a datum's way from the ring to the log, the incidents and the outbox.

Runs without privileges and never imports `bcc`. One loop reads the ring; the sender has a thread
of its own, so that no webhook ever holds up the ring.
"""

from __future__ import annotations

import logging
import math
import os
import select
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from tcp_trace import __version__
from tcp_trace.connects.events import RETURNED, Begun, Destination, Established, Failure, Raced
from tcp_trace.connects.races import Races
from tcp_trace.connects.returns import Returns
from tcp_trace.connects.tracker import Tracker
from tcp_trace.connects.watch import EVERYTHING
from tcp_trace.host.identity import Identities
from tcp_trace.host.resolver import Resolver, addresses_of
from tcp_trace.host.serviceuser import name_of
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.kernel import handover
from tcp_trace.kernel.programs import missed_runs
from tcp_trace.kernel.rings import Ring
from tcp_trace.log import lines, logs, output
from tcp_trace.log.logfile import NotRegularError
from tcp_trace.log.repeats import Repeats
from tcp_trace.notify.outbox import present
from tcp_trace.probes import registry
from tcp_trace.probes.connect import CONNECT
from tcp_trace.probes.connectmaps import Maps
from tcp_trace.probes.latency import Latencies
from tcp_trace.probes.names import NAMES, Names
from tcp_trace.probes.transitions import decode_all
from tcp_trace.service import applied, heldback
from tcp_trace.service.heldback import HeldBack
from tcp_trace.service.lag import Lag
from tcp_trace.service.losses import LOSSES, Losses
from tcp_trace.service.messages import Messages
from tcp_trace.service.selfaudit import SelfAudit
from tcp_trace.service.signals import Signals
from tcp_trace.service.systemd import Notifier, watchdog_interval
from tcp_trace.settings import config
from tcp_trace.settings.values import Events, LostRaces
from tcp_trace.silences.silencefile import SilenceFile
from tcp_trace.silences.silences import Silences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tcp_trace.connects.events import Counters, Moment, Outcome, Transition
    from tcp_trace.connects.watch import Rule
    from tcp_trace.incidents.notification import Notification
    from tcp_trace.incidents.subjects import Subject
    from tcp_trace.kernel.contract import Counts
    from tcp_trace.probes.connectmaps import Held, Tallies
    from tcp_trace.service.exporter import Exporter
    from tcp_trace.settings.config import Settings

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
"""How long SIGTERM waits for pending messages. The unit's TimeoutStopSec is longer."""

# After a batch the ring is left alone for this long: under load a wake-up then serves many
# records, and the first alert is still told well within a second.
_PAUSE = 0.05
# Outcomes that are logged and nothing more.
_SHOWN = Begun | Established
# How many records are handled between two looks at the ring.
_BATCH = 256
# How often the kernel's tallies are compared.
_HOUSEKEEPING = 15.0
# How long changed incidents, of which no message is due, wait to be saved for `tcp-trace incidents`
# (seconds). Saving takes 0.4 ms for one incident and 0.1 s for 5,000: never more than 2 % of the
# time.
_SAVE_GAP = 2.0
_SAVE_SHARE = 0.02
# How long the start waits for the addresses of hosts that are watched by name.
_RESOLVE_PATIENCE = 2.0


def serve(
    settings: Settings,
    memfd: int,
    log_file: Path | None,
    env_file: Path | None,
    *,
    landlock: bool = False,
) -> int:
    """Run until SIGTERM or SIGINT and return the exit code. `memfd` is stage 1's hand-over.

    `landlock` is logged: whether writing is restricted.
    """
    received = handover.receive(memfd)
    received = replace(received, facts={**received.facts, "landlock": landlock})
    try:
        logs.setup(settings, log_file, sys.stderr)
    except NotRegularError as error:
        output.complain(_why(error))
        return 1
    except OSError as error:
        user = name_of(os.geteuid())
        output.complain(f"{_why(error)}; the user {user} must be able to write there")
        return 1
    for warning in settings.warnings:
        log.warning("%s", warning)
    try:
        service = Service(settings, received, lambda: config.load(os.environ, env_file))
    except OSError as error:
        log.critical("cannot start: %s", error.strerror)
        return 1
    return service.run()


class Service:
    """Everything that runs, in one loop. `reload` reads the configuration anew."""

    def __init__(
        self,
        settings: Settings,
        received: handover.Handover,
        reload: Callable[[], Settings],
    ) -> None:
        self._settings = settings
        self._received = received
        self._reload = reload
        self._hook = received.kind_of(CONNECT.name, "hook")
        maps = received.maps_of(CONNECT.name)
        self._maps = Maps(maps)
        self._ring = Ring(maps["transitions"], received.ring_bytes)
        self._names = Names(received.maps_of(NAMES.name))
        self._resolver = Resolver(settings.dest_host, addresses_of, self._names.ttl_since)
        self._tracker = Tracker()
        self._returns = Returns()
        ignore = settings.lost_races is LostRaces.IGNORE
        self._races = Races(self._maps.rivals, self._host_of, ignore=ignore)
        self._identities = Identities(self._maps.cgroup, self._maps.last_exec)
        self._repeats = Repeats()
        self._held_back = HeldBack(self._maps)
        self._audit = SelfAudit(self._maps.tallies)
        self._messages = Messages(settings)
        self._silence_file = SilenceFile(settings.state_dir)
        self._incidents = self._restore()
        self._signals = Signals()
        self._systemd = Notifier()
        self._lag = Lag()
        self._losses = Losses()
        self._reasons: Counter[str] = Counter()
        self._unsaved = False
        self._next_save = 0.0
        self._next_housekeeping = 0.0
        self._watchdog = watchdog_interval()
        self._exporter: Exporter | None = None

    def run(self) -> int:
        """Run until a signal ends it; return the exit code."""
        poller = select.epoll()
        for fd in (self._ring.fileno(), self._signals.fd, self._resolver.fd):
            poller.register(fd, select.EPOLLIN)
        # All libraries are loaded before the first thread: two that import wait for each other.
        self._exporter = self._export()
        self._resolver.start(_RESOLVE_PATIENCE)
        self._watch(self._settings)
        self._messages.start()
        self._tell_started()
        self._systemd.say("READY=1")
        while not self._signals.stop:
            ready = poller.poll(0 if self._ring.unread else self._timeout(present()))
            self._turn()
            if ready and not self._ring.unread:
                time.sleep(_PAUSE)
        return self._stop()

    def _turn(self) -> None:
        """Do all that is due: read the ring, tell of incidents, answer signals and watchdog."""
        transitions = decode_all(self._ring.read(_BATCH))
        self._ring.release(self._ring.position)
        now = present()
        if transitions:
            oldest_ns = min([one.timestamp_ns for one in transitions])
            self._lag.note(oldest_ns, now.mono, self._ring.unread)
        if self._silence_file.refresh():
            self._incidents.silences = self._silences(self._settings)
        notifications = self._take_in(transitions, now)
        notifications += self._take_held(self._held_back.take(now.mono), now)
        lines.write_failures(self._repeats.due(now.mono))
        deadline = self._incidents.next_deadline()
        if deadline is not None and deadline <= now.mono:
            notifications += self._incidents.tick(now, self._counts_of)
        if notifications:
            self._commit(notifications, now)
        if self._resolver.has_news:
            self._watch_hosts()
        if self._signals.reload:
            self._signals.reload = False
            self._on_reload()
        self._signals.clear()
        if now.mono >= self._next_housekeeping:
            self._keep_house(now)
        if self._unsaved and now.mono >= self._next_save:
            self._commit([], now)
        self._systemd.go_on()
        if self._watchdog and not self._messages.is_stuck(now.mono):
            self._systemd.say("WATCHDOG=1")

    def _take_in(self, transitions: list[Transition], now: Moment) -> list[Notification]:
        outcomes = [self._judge(transition, now) for transition in transitions]
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        if self._settings.events is Events.ALL:
            lines.write_transitions([one for one in transitions if one.newstate != RETURNED])
        else:
            lines.write_outcomes([one for one in outcomes if isinstance(one, _SHOWN)])
        if not self._ring.unread:
            failures += self._returns.expire(now.mono)
        judged = [self._races.judge(self._identify(failure), now.mono) for failure in failures]
        return self._tell([*judged, *self._races.expire(now.mono)], now)

    def _take_held(self, taken: list[Held], now: Moment) -> list[Notification]:
        """Count failures that were beyond somebody's budget, and say whose they are."""
        found = [(held, self._judge_held(held.first)) for held in taken]
        failures = [
            self._identify(one)._replace(
                times=held.failures,
                mono=held.last_ns * 1e-9,
                wall=one.wall + (held.last_ns - held.first.timestamp_ns) * 1e-9,
            )
            for held, one in found
            if isinstance(one, Failure)
        ]
        judged = [self._races.judge(failure, now.mono) for failure in failures]
        told = [one for one in judged if isinstance(one, Failure)]
        lines.write_held(*heldback.to_write(told))
        lines.write_outcomes([one for one in judged if isinstance(one, Raced)])
        return self._count(told, now)

    def _judge_held(self, transition: Transition) -> Outcome | None:
        """Judge what has no other record to wait for."""
        if transition.newstate == RETURNED:
            return self._returns.returned(transition, math.nan)
        return self._tracker.judge(transition)

    def _judge(self, transition: Transition, now: Moment) -> Outcome | None:
        if transition.newstate == RETURNED:
            return self._returns.returned(transition, now.mono)
        outcome = self._tracker.judge(transition)
        if isinstance(outcome, Failure):
            return self._returns.failed(outcome, transition, now.mono)
        return outcome

    def _tell(self, outcomes: Iterable[Failure | Raced | None], now: Moment) -> list[Notification]:
        known = [outcome for outcome in outcomes if outcome is not None]
        failures = [outcome for outcome in known if isinstance(outcome, Failure)]
        lines.write_failures(
            [line for each in failures for line in self._repeats.take(each, now.mono)]
        )
        lines.write_outcomes([outcome for outcome in known if isinstance(outcome, Raced)])
        if failures:
            self._held_back.expect(now.mono)
        return self._count(failures, now)

    def _count(self, failures: list[Failure], now: Moment) -> list[Notification]:
        notifications: list[Notification] = []
        for failure in failures:
            self._reasons[failure.reason.value] += failure.times
            notifications += self._incidents.failed(failure, now, self._counts_of)
        self._unsaved = self._unsaved or bool(failures)
        return notifications

    def _identify(self, failure: Failure) -> Failure:
        host = self._host_of(failure)
        if failure.process is None:
            return failure._replace(host=host)
        began = failure.mono - (failure.elapsed or 0.0)
        return failure._replace(maker=self._identities.of(failure.process, began), host=host)

    def _host_of(self, failure: Failure) -> str | None:
        return self._names.of(failure) or self._resolver.name_of(failure.destination.address)

    def _counts_of(self, subject: Subject) -> Counters | None:
        """Return what the kernel counted of a subject, None where it counts nothing of its kind."""
        return self._maps.counters(subject) if isinstance(subject, Destination) else None

    def _watch_hosts(self) -> None:
        """Let the kernel watch what the hosts have for addresses now."""
        try:
            self._maps.watch(self._rules(self._settings))
        except OSError as error:
            log.error("%s", error.strerror)  # noqa: TRY400 - the sentence says it all

    def _commit(self, notifications: list[Notification], now: Moment) -> None:
        self._messages.commit(notifications, self._incidents.dump(now))
        self._unsaved = False
        took = time.monotonic() - now.mono
        self._next_save = now.mono + max(_SAVE_GAP, took / _SAVE_SHARE)

    def _keep_house(self, now: Moment) -> None:
        self._next_housekeeping = now.mono + _HOUSEKEEPING
        self._losses.check(self._lost(self._maps.tallies()), now.mono)
        self._held_back.expect(now.mono)
        self._names.refresh()
        self._audit.check(now.mono)
        self._messages.keep_house(now)
        self._resolver.retry()
        if self._exporter is not None:
            self._exporter.retry()

    def _timeout(self, now: Moment) -> float:
        """Return the seconds until something is due although nothing happens."""
        parts = (self._incidents, self._returns, self._races, self._held_back, self._repeats)
        deadlines = [part.next_deadline() for part in parts]
        due = min([self._next_housekeeping, *(when for when in deadlines if when is not None)])
        if self._unsaved:
            due = min(due, self._next_save)
        return max(0.0, min(due - now.mono, self._watchdog or _HOUSEKEEPING))

    def _rules(self, settings: Settings) -> set[Rule]:
        return {*settings.dest_ip, *self._resolver.rules()}

    def _watch(self, settings: Settings) -> None:
        self._maps.watch(self._rules(settings))
        everything = EVERYTHING in settings.dest_ip
        self._audit.restart(time.monotonic(), watches_everything=everything)

    def _on_reload(self) -> None:
        self._systemd.say("RELOADING=1")
        try:
            self._apply(self._reload())
        except config.ConfigError as error:
            for sentence in error.errors:
                log.error("not reloaded: %s", sentence)  # noqa: TRY400 - the sentence says it all
        except OSError as error:
            log.error("not reloaded: %s", _why(error))  # noqa: TRY400 - the same
        self._systemd.say("READY=1")

    def _apply(self, settings: Settings) -> None:
        """Put a changed configuration to use, as far as a running service can."""
        logs.apply(settings)
        self._resolver.replace(settings.dest_host)
        self._names.refresh()
        self._watch(settings)
        for warning in settings.warnings:
            log.warning("%s", warning)
        for name in applied.changed_at_start(self._settings, settings):
            log.warning("%s is changed: it takes effect at the next restart", name)
        self._settings = applied.keep_at_start(self._settings, settings)
        self._incidents.use(applied.policy(settings), self._silences(settings), present())
        self._messages.apply(self._settings)
        log.info("reloaded", extra={"watching": applied.describe(settings)})

    def _export(self) -> Exporter | None:
        address = self._settings.metrics
        if address is None:
            return None
        from tcp_trace.service import metrics  # noqa: PLC0415 - a library that only its users have

        latencies = Latencies(self._received.maps_of(CONNECT.name))

        def figures() -> metrics.Figures:
            tallies = self._maps.tallies()
            return metrics.Figures(
                version=__version__,
                hook=self._hook,
                tallies=tallies,
                losses=self._lost(tallies),
                raced=self._races.lost,
                coverage=self._audit.latest(),
                failures=dict(self._reasons),
                silenced=sum(dict(self._incidents.silenced_by).values()),
                below_threshold=self._incidents.below_threshold,
                failing_destinations=self._incidents.failing,
                webhooks=self._messages.statistics,
                pending=self._messages.pending,
                drops=self._messages.outbox.drops,
                degraded=self._messages.outbox.degraded is not None,
                lost_lines=logs.lost_lines(),
                latency=latencies.overall(),
                latencies=latencies.most_used(self._settings.metrics_destinations),
                counts=self._probe_counts(),
            )

        try:
            exporter = metrics.exporter(address, figures)
        except OSError as error:
            where = f"METRICS={address.host}:{address.port}"
            log.error("no metrics, %s: %s", where, error.strerror)  # noqa: TRY400 - says it all
            return None
        exporter.start()
        return exporter

    def _probe_counts(self) -> list[Counts]:
        """Return what the probes at work count by themselves."""
        maps = self._received.maps
        at_work = [probe for probe in registry.PROBES if probe.name in maps]
        return [n for p in at_work for n in p.counts(maps[p.name], self._settings)]

    def _restore(self) -> Incidents:
        """Take up the incidents that an earlier process left open."""
        policy, silences = applied.policy(self._settings), self._silences(self._settings)
        state = self._messages.restore()
        if state is None:
            return Incidents(policy, silences)
        try:
            return Incidents.load(state, policy, present(), silences)
        except ValueError as error:
            log.error("open incidents are forgotten: %s", error)  # noqa: TRY400 - says it all
            return Incidents(policy, silences)

    def _silences(self, settings: Settings) -> Silences:
        return Silences(self._silence_file.silences, settings.maintenance or ())

    def _tell_started(self) -> None:
        facts = dict(self._received.facts)
        log.info(
            "watching",
            extra={
                "version": __version__,
                "hook": self._hook,
                "events": self._settings.events.value,
                "watching": applied.describe(self._settings),
                "webhook": self._settings.slack_url is not None,
                "webhooks": ",".join(webhook.name for webhook in self._settings.webhooks),
                **facts,
            },
        )

    def _stop(self) -> int:
        self._systemd.say("STOPPING=1")
        now = present()
        notifications: list[Notification] = []
        while records := self._ring.read(_BATCH):
            self._ring.release(self._ring.position)
            notifications += self._take_in(decode_all(records), now)
        late = [self._identify(failure) for failure in self._returns.expire(math.inf)]
        notifications += self._tell([*late, *self._races.expire(math.inf)], now)
        notifications += self._take_held(self._held_back.take_all(), now)
        lines.write_failures(self._repeats.flush())
        self._commit(notifications, now)
        self._keep_house(now)
        self._messages.stop(DRAIN_SECONDS)
        log.info("stopped", extra=self._counts())
        logs.flush()
        return 0

    def _counts(self) -> dict[str, object]:
        shares = {f"coverage_{of}": share for of, share in self._audit.total().items()}
        raced, lost = self._races.lost, logs.lost_lines()
        tallies = self._maps.tallies()
        counts = {**tallies._asdict(), **self._lost(tallies)}
        return {**counts, "raced": raced, **shares, "log_lines_lost": lost}

    def _lost(self, tallies: Tallies) -> dict[str, int]:
        """Return how many there are of each of the `LOSSES` so far."""
        known = {
            **tallies._asdict(),
            "impossible": self._tracker.impossible,
            "missed_returns": missed_runs(self._received.programs_of(CONNECT.name)),
        }
        return {loss.name: known[loss.name] for loss in LOSSES}


def _why(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
