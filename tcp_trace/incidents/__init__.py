"""Failures become incidents, and incidents become few, calm, complete messages.

    what happens                                        what people hear
    --------------------------------------------------  -------------------------------------------
    a subject fails (the `after`th time within          opened, at once
    `window`)
    it fails again                                      updated, `interval` after the opening: one
                                                        message with the count
    and again, with news: a cause or a program not      updated, `interval` after the last message
    seen before, ten times the failures, now critical   at the earliest
    and again, without news                             reminded, `repeat` after the last message
    no failure for `resolve_after`, and a success       resolved, with all that was not told yet
    after the last failure
    no failure and no success for `quiet_after`         quiet: nobody tries any more
    it fails within `flap_window` after its end         opened, at once; but the next resolved
                                                        waits twice as long, up to `max_patience`
    many subjects open within seconds                   opened, after `storm_gather`: one digest,
    (`storm_...`) or keep opening (`flood_...`), or     which takes over those told just before
    the same in some network namespaces
    the storm goes on, with news or new subjects        updated, after `interval`, then twice that,
                                                        and so on up to `repeat`
    somebody fails in it who did not before             updated, after `interval`
    fewer than make a storm still fail, and none        resolved or quiet, naming those; one that
    joined for `resolve_after`                          fails on opens an incident of its own
    it fails while a silence or a window holds          nothing; the end is told all the same, if
                                                        the opening was
    it fails on when that has ended                     opened as above, with what was silenced; or
                                                        updated, if it was told before

Every failure is counted by exactly one message (`Notification.failures`), except those that never
reached `after` in `window`, which are counted in `below_threshold`, and those of incidents that
began and ended in silence, counted in `silenced`. What is remembered is bounded by
`Policy.max_incidents`, and a tenth more of those who have few; failures of further subjects are
counted in the digest.

What fails and why are values (`subjects.py`), of whatever kinds there are (`topics.py`).

Everything is pure: the present is passed in.
"""
