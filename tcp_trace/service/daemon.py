"""Stage 2: wires a datum's way from the ring to the log, the incidents and the outbox.

Runs without privileges and never imports `bcc`. One loop reads the ring; the sender has a thread
of its own, so that no webhook ever holds up the ring.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tcp_trace import __version__
from tcp_trace.connects.watch import EVERYTHING
from tcp_trace.host.resolver import Resolver, addresses_of
from tcp_trace.host.serviceuser import name_of
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.kernel import handover
from tcp_trace.kernel.gate import boot_id
from tcp_trace.kernel.programs import missed_runs
from tcp_trace.log import logs, output
from tcp_trace.log.logfile import NotRegularError
from tcp_trace.notify.outbox import present
from tcp_trace.probes import registry
from tcp_trace.probes.connect import CONNECT
from tcp_trace.probes.latency import Latencies
from tcp_trace.probes.names import NAMES
from tcp_trace.service import applied
from tcp_trace.service.counted import Counted, Recalled
from tcp_trace.service.intake import Intake, Source
from tcp_trace.service.losses import LOSSES, Losses
from tcp_trace.service.messages import Messages
from tcp_trace.service.named import Named
from tcp_trace.service.selfaudit import SelfAudit
from tcp_trace.service.signals import Signals
from tcp_trace.service.sweep import Sweep, remembered
from tcp_trace.service.systemd import Notifier, watchdog_interval
from tcp_trace.settings import config
from tcp_trace.silences.silencefile import SilenceFile
from tcp_trace.silences.silences import Silences

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tcp_trace.connects.events import Failure, Moment
    from tcp_trace.connects.watch import Rule
    from tcp_trace.incidents.notification import Notification
    from tcp_trace.kernel.contract import Counts
    from tcp_trace.probes.connectmaps import Tallies
    from tcp_trace.service.exporter import Exporter
    from tcp_trace.settings.config import Settings

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
"""How long SIGTERM waits for pending messages. The unit's TimeoutStopSec is longer."""

# After a batch the ring is left alone for this long: under load a wake-up then serves many
# records, and the first alert is still told well within a second.
_PAUSE = 0.05
# Where more is to be read, the log's thread has this long for the lines of what was: who kills the
# service between its write and the note that they are written lets them be written twice.
_YIELD = 0.015
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
        self._messages = Messages(settings)
        self._silence_file = SilenceFile(settings.state_dir)
        outbox, boot = self._messages.outbox, boot_id()
        memory = remembered(outbox.load_memory(), boot)
        state = self._state = self._messages.restore() or {}
        saved = state.get("ring")
        source = Source(
            received.maps_of(CONNECT.name), received.maps_of(NAMES.name), received.ring_bytes
        )
        self._resolver = Resolver(settings.dest_host, addresses_of, self._ttl_since)
        self._intake = Intake(source, settings, self._resolver.name_of, saved)
        self._named = Named(
            lambda: self._intake.maps, lambda: self._intake.names, self._resolver.addresses
        )
        self._counted = Counted(lambda: self._intake.maps, self._named)
        self._incidents = self._restore(state, Recalled(memory, self._named))
        self._sweep = Sweep(memory, boot, lambda: self._intake.maps, outbox.remember)
        self._audit = SelfAudit(self._intake.maps.tallies)
        is_same = self._intake.progress.is_known
        self._losses = Losses(state.get("losses") if is_same else None)
        self._signals = Signals()
        self._systemd = Notifier()
        self._reasons: Counter[str] = Counter()
        self._unsaved = False
        self._next_save = self._took = 0.0
        self._next_housekeeping = 0.0
        self._watchdog = watchdog_interval()
        self._exporter: Exporter | None = None

    def run(self) -> int:
        """Run until a signal ends it; return the exit code."""
        poller = select.epoll()
        for fd in (self._signals.fd, self._resolver.fd):
            poller.register(fd, select.EPOLLIN)
        # When something comes, and not while something is there: records are kept for a while.
        poller.register(self._intake.ring.fileno(), select.EPOLLIN | select.EPOLLET)
        # All libraries are loaded before the first thread: two that import wait for each other.
        self._exporter = self._export()
        self._resolver.start(_RESOLVE_PATIENCE)
        self._watch(self._settings)
        self._messages.start()
        self._tell_started()
        for former in self._received.former:
            self._finish(former)
        now = present()
        self._commit(self._count(self._intake.take_up(now), now), now)
        self._intake.settle()
        logs.flush()
        self._systemd.say("READY=1")
        while not self._signals.stop:
            ready = poller.poll(0 if self._intake.ring.unread else self._timeout(present()))
            self._turn()
            if self._intake.ring.unread:
                time.sleep(_YIELD)
            elif ready:
                time.sleep(_PAUSE)
        return self._stop()

    def _finish(self, former: handover.Former) -> None:
        """Read what is left of a program that was let go, and let go of that, too."""
        names = former.maps.get(NAMES.name, {})
        source = Source(former.maps[CONNECT.name], names, former.ring_bytes)
        saved = self._state.get("ring")
        current = self._intake
        self._intake = Intake(source, self._settings, self._resolver.name_of, saved)
        now = present()
        failures = self._intake.take_up(now) + self._intake.take_all(now)
        self._commit(self._count(failures, now), now)
        self._intake.settle()
        logs.flush()
        self._intake = current
        for name in former.names:
            self._systemd.say(f"FDSTOREREMOVE=1\nFDNAME={name}")
        for fd in {fd for maps in former.maps.values() for fd in maps.values()}:
            os.close(fd)

    def _turn(self) -> None:
        """Do all that is due: read the ring, tell of incidents, answer signals and watchdog."""
        now = present()
        if self._silence_file.refresh():
            self._incidents.silences = self._silences(self._settings)
        notifications = self._count(self._intake.take(now), now)
        deadline = self._incidents.next_deadline()
        if deadline is not None and deadline <= now.mono:
            notifications += self._incidents.tick(now, self._counted)
        if self._incidents.over:
            self._silence_file.drop(self._incidents.over)
            self._incidents.over = set()
            self._incidents.silences = self._silences(self._settings)
        self._save(notifications, now)
        self._intake.settle()
        self._sweep.go_on(now)
        if self._resolver.has_news:
            self._watch_hosts()
        if self._signals.reload:
            self._signals.reload = False
            self._on_reload()
        self._signals.clear()
        if now.mono >= self._next_housekeeping:
            self._keep_house(now)
        self._systemd.go_on()
        if self._watchdog and not self._messages.is_stuck(now.mono):
            self._systemd.say("WATCHDOG=1")

    def _count(self, failures: list[Failure], now: Moment) -> list[Notification]:
        notifications: list[Notification] = []
        for failure in failures:
            self._reasons[failure.reason.value] += failure.times
            self._named.note(failure)
            notifications += self._incidents.failed(failure, now, self._counted)
        self._unsaved = self._unsaved or bool(failures)
        return notifications

    def _save(self, notifications: list[Notification], now: Moment) -> None:
        """Commit what is promised at once, and what is counted now and then."""
        # What the kernel has counted alone is let go as soon as its line is written.
        is_urgent = self._intake.has_held and self._took <= _SAVE_SHARE
        if notifications or (self._unsaved and (is_urgent or now.mono >= self._next_save)):
            self._commit(notifications, now)
        elif not self._unsaved:
            self._note_counted()
        self._intake.progress.relieve()

    def _ttl_since(self, address: str, mono: float) -> int | None:
        return self._intake.names.ttl_since(address, mono)

    def _watch_hosts(self) -> None:
        """Let the kernel watch what the hosts have for addresses now."""
        try:
            self._intake.maps.watch(self._rules(self._settings))
        except OSError as error:
            log.error("%s", error.strerror)  # noqa: TRY400 - the sentence says it all

    def _commit(self, notifications: list[Notification], now: Moment) -> None:
        progress = self._intake.progress
        saved = {"ring": progress.state, "losses": self._losses.told}
        self._messages.commit(notifications, {**self._incidents.dump(now), **saved})
        self._note_counted()
        self._unsaved = False
        self._took = time.monotonic() - now.mono
        self._next_save = now.mono + max(_SAVE_GAP, self._took / _SAVE_SHARE)

    def _note_counted(self) -> None:
        """Let the ring's records go, as far as the state is on disk that counts them."""
        if self._messages.outbox.degraded is None:
            self._intake.progress.counted(self._intake.ring.position)

    def _keep_house(self, now: Moment) -> None:
        self._next_housekeeping = now.mono + _HOUSEKEEPING
        self._losses.check(self._lost(self._intake.maps.tallies()), now.mono)
        self._intake.expect_held(now.mono)
        self._intake.names.refresh()
        self._audit.check(now.mono)
        self._messages.keep_house(now)
        self._resolver.retry()
        self._silence_file.write_dropped()
        self._named.forget()
        if self._exporter is not None:
            self._exporter.retry()

    def _timeout(self, now: Moment) -> float:
        """Return the seconds until something is due although nothing happens."""
        parts = (self._incidents, self._intake, self._sweep)
        deadlines = [part.next_deadline() for part in parts]
        due = min([self._next_housekeeping, *(when for when in deadlines if when is not None)])
        if self._unsaved:
            due = min(due, self._next_save)
        return max(0.0, min(due - now.mono, self._watchdog or _HOUSEKEEPING))

    def _rules(self, settings: Settings) -> set[Rule]:
        return {*settings.dest_ip, *self._resolver.rules()}

    def _watch(self, settings: Settings) -> None:
        self._intake.maps.watch(self._rules(settings))
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
        self._intake.names.refresh()
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
            tallies = self._intake.maps.tallies()
            return metrics.Figures(
                version=__version__,
                hook=self._hook,
                tallies=tallies,
                losses=self._lost(tallies),
                raced=self._intake.races.lost,
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

    def _restore(self, state: dict[str, Any], memory: Recalled) -> Incidents:
        """Take up the incidents that an earlier process left open."""
        policy, silences = applied.policy(self._settings), self._silences(self._settings)
        if not state:
            return Incidents(policy, silences, memory)
        try:
            return Incidents.load(state, policy, present(), silences, memory)
        except ValueError as error:
            log.error("open incidents are forgotten: %s", error)  # noqa: TRY400 - says it all
            return Incidents(policy, silences, memory)

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
        self._systemd.say("STOPPING=1\nWATCHDOG=1")
        now = present()
        self._sweep.finish(now)
        self._commit(self._count(self._intake.take_all(now), now), now)
        self._intake.settle()
        self._keep_house(now)
        self._messages.stop(DRAIN_SECONDS)
        log.info("stopped", extra=self._counts())
        logs.flush()
        return 0

    def _counts(self) -> dict[str, object]:
        shares = {f"coverage_{of}": share for of, share in self._audit.total().items()}
        raced, lost = self._intake.races.lost, logs.lost_lines()
        tallies = self._intake.maps.tallies()
        counts = {**tallies._asdict(), **self._lost(tallies)}
        if not self._received.programs_of(CONNECT.name):
            del counts["missed_returns"]  # no return of connect() is watched
        return {**counts, "raced": raced, **shares, "log_lines_lost": lost}

    def _lost(self, tallies: Tallies) -> dict[str, int]:
        """Return how many there are of each of the `LOSSES` so far."""
        known = {
            **tallies._asdict(),
            "impossible": self._intake.tracker.impossible,
            "missed_returns": missed_runs(self._received.programs_of(CONNECT.name)),
        }
        return {loss.name: known[loss.name] for loss in LOSSES}


def _why(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
