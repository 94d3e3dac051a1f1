"""Failures become incidents, and incidents become few, calm, complete messages.

The question is whether anything succeeds, and not how many fail. Numbers are in `policy.py`.

    what happens                                        what people hear
    --------------------------------------------------  -------------------------------------------
    a subject that people asked for by name fails       opened, at once
    one that worked fails `down_failures` times in a    opened: down, with all of these failures
    row, over `down_after` (of a pool: `pool_after`)    and their programs
    one never seen to work does, over `new_after`, the  opened, as a warning
    longer the more dead places its program found
    a share of its attempts fails over a minute, in     opened: degraded
    each third of it, with successes between
    it worked, failed, and nobody tries again           opened: untried
    the next attempt succeeds                           nothing; counted for the daily digest
    many fail together and little else works, or more   opened, once for all: a storm
    open than `known_burst`, `new_burst` ... allow
    as many are about to open as may open alone         the same, with what fails soon after
    it fails again, with news: a cause or a program     updated, `interval` after the last message
    not seen before, or now critical for the first      at the earliest, then twice that, and so on;
    time                                                critical for the first time: at once
    and again, without news                             reminded, after `repeat`, then twice that
    nothing failed within the last minute               none of these two
    no failure for `resolve_after` and twice the usual  resolved, with all that was not told yet
    gap between failures, and a success after the last
    a success ends its row, and no more fail since      none of these two; resolved after that time,
    than by chance                                      with what failed by chance
    it is down again, or a share fails since            it goes on as above
    no failure and no success for `quiet_after`         quiet: nobody tries any more
    it fails within `flap_window` after its end         opened; but the next resolved waits twice
                                                        as long, up to `max_patience`
    a storm goes on, with news or new subjects          updated, ever more rarely
    somebody fails in it who did not before             updated, after `interval`
    few of it fail still, and half of it works          resolved; or quiet, after `quiet_after`
    it fails while a silence or a window holds          nothing; the end is told all the same, if
                                                        the opening was
    it fails on when that has ended                     opened as above, with what was silenced; or
                                                        updated, if it was told before
    `digest_hour`                                       daily: what nobody had to hear of at once

With `Policy.after` 1 every subject opens with its first failure; with a larger number with so many
within `window`, or in a row.

Every failure is counted by exactly one message (`Notification.failures`), the daily digest among
them, except those that are only counted in `below_threshold` where there is no digest, and those of
incidents that began and ended in silence, counted in `silenced`. What is remembered is bounded by
`Policy.max_incidents`, and a tenth more of those who have few; failures of further subjects are
counted in the storm.

    row.py          failures in a row of one subject        suspects.py  all that nobody heard of
    suspicion.py    when people hear of a suspect           explorers.py who finds many dead places
    unheard.py      suspects, redeemed, the daily digest    budget.py    how many open alone
    openings.py     alone, in a storm, or not yet           daily.py     the digest
    standing.py     whether an outage goes on

What fails and why are values (`subjects.py`), of whatever kinds there are (`topics.py`).

Everything is pure: the present is passed in.
"""
