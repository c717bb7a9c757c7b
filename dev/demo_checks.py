"""What the make-believe checks print, with performance data as Nagios plugins have it. Pure."""

from __future__ import annotations

from collections.abc import Callable

from dev.demo_moment import DAY_S, HOUR_S, Moment, Reading, level

Check = Callable[[Moment], Reading]


def load(m: Moment) -> Reading:
    one = m.busy(0.1, 4.6) * m.between(0.5, 1, "size") + 7 * m.trouble()
    five, fifteen = 0.9 * one + 0.2, 0.8 * one + 0.3
    state = level(one, 6, 10)
    return Reading(
        state,
        f"LOAD {state} - load average: {one:.2f}, {five:.2f}, {fifteen:.2f}"
        f"|load1={one:.2f};6;10;0 load5={five:.2f};5;8;0 load15={fifteen:.2f};4;6;0",
    )


def memory(m: Moment) -> Reading:
    total = m.between(1, 5, "size") // 1 * 16
    used = min(97.0, m.busy(38, 71) + 4 * m.noise(9 * HOUR_S, "slow") + 26 * m.trouble())
    return Reading(
        level(used, 85, 95),
        f"memory {used:.1f}% used, {total * used / 100:.1f} of {total:.0f} GiB"
        f"|used={used:.1f}%;85;95;0;100 cached={total * (100 - used) / 160:.2f}GB",
    )


def disk(path: str, days: float = 40, low: float = 34, high: float = 79) -> Check:
    def check(m: Moment) -> Reading:
        size = m.between(1, 9, "size") // 1 * 100
        used = min(99.0, m.filling(low, high, days) + 8 * m.trouble())
        free = size * (100 - used) / 100
        return Reading(
            level(used, 85, 95),
            f"{path} {used:.1f}% used, {free:.1f} of {size:.0f} GiB free, inodes {used / 4:.0f}%"
            f"|'{path}'={used:.1f}%;85;95;0;100 inodes={used / 4:.0f}%;90;95;0;100",
        )

    return check


def network(m: Moment) -> Reading:
    received, sent = m.busy(2, 480), m.busy(1, 210) * m.between(0.5, 2, "out")
    errors = round(40 * m.trouble())
    return Reading(
        level(errors, 10, 100),
        f"eth0 10 Gbit/s full, in {received:.1f} MB/s, out {sent:.1f} MB/s, {errors} errors/min"
        f"|in={received:.1f}MB/s out={sent:.1f}MB/s errors={errors};10;100;0",
    )


def time_offset(m: Moment) -> Reading:
    offset = 0.004 * (m.noise(1800) - 0.5) + 0.08 * m.trouble()
    return Reading(
        level(abs(offset), 0.05, 0.5),
        f"offset {1000 * offset:+.2f} ms to ntp.example.com, stratum 3"
        f"|offset={offset:.6f}s;0.05;0.5",
    )


def packages(m: Moment) -> Reading:
    waiting = int(m.filling(0, 34, 14))
    security = 3 if m.chance("security", m.at // (9 * DAY_S)) < 0.06 else 0
    words = f"{waiting} packages to update, {security} of them for security"
    return Reading(
        "WARN" if security else "OK", f"{words}|packages={waiting};;;0 security={security};1;;0"
    )


def http(url: str) -> Check:
    def check(m: Moment) -> Reading:
        trouble = m.trouble()
        if trouble == 1:
            return Reading("FAIL", f"{url}: 502 Bad Gateway after 0.04 s, expected 200|time=0.04s")
        took = m.busy(0.03, 0.24) + 2.4 * trouble + 0.2 * m.noise(60, "spike") ** 9
        state = level(took, 1, 5)
        return Reading(
            state, f"{url}: 200 OK, 18422 bytes in {took:.3f} s|time={took:.3f}s;1;5;0 size=18422B"
        )

    return check


def process(name: str, low: int, high: int) -> Check:
    def check(m: Moment) -> Reading:
        if m.trouble() == 1:
            return Reading("FAIL", f"no process {name} runs|processes=0;;1:;0 memory=0MB")
        found = round(m.busy(low, high))
        return Reading(
            "OK",
            f"{found} processes {name}, oldest since {m.at % (21 * DAY_S) / DAY_S:.1f} d"
            f"|processes={found};;1:;0 memory={found * m.busy(40, 90):.0f}MB",
        )

    return check


def rate(what: str, unit: str, low: float, high: float, warn: float, crit: float) -> Check:
    """Something that follows the day: requests, connections, messages waiting."""

    def check(m: Moment) -> Reading:
        value = m.busy(low, high) + (warn * 1.15 - high) * (m.trouble() > 0)
        if m.trouble() == 1:
            value = crit * 1.1
        label = what.replace(" ", "_")
        shown = f"{value:.0f}" if high > 20 else f"{value:.2f}"
        joint = "" if unit in ("", "s", "ms", "%", "/s") else " "
        perf = f"{label}={shown}{unit if unit in UNITS else ''};{warn:g};{crit:g};0"
        return Reading(level(value, warn, crit), f"{what} {shown}{joint}{unit}|{perf}")

    return check


def share(what: str, low: float, high: float, warn: float, crit: float) -> Check:
    """A percentage that should be high."""

    def check(m: Moment) -> Reading:
        value = low + (high - low) * m.noise(HOUR_S) - (low - warn + 1) * (m.trouble() > 0)
        label = what.replace(" ", "_")
        return Reading(
            level(value, warn, crit),
            f"{what} {value:.1f}%|{label}={value:.1f}%;{warn:g}:;{crit:g}:;0;100",
        )

    return check


def certificate(host: str) -> Check:
    def check(m: Moment) -> Reading:
        days = 90 - int(m.filling(0, 62, 62))
        return Reading(
            level(days, 21, 7),
            f"certificate of {host} is valid for {days} days, by Example CA R3"
            f"|days={days};21:;7:;0",
        )

    return check


def nightly(what: str, low: float, high: float) -> Check:
    """A job that runs once a day: how much it moved and how long it took."""

    def check(m: Moment) -> Reading:
        day = m.at // DAY_S
        size, took = m.between(low, high, day), m.between(400, 3300, day, "took")
        if m.chance(day, "failed") < 0.02:
            return Reading("FAIL", f"{what}: exit status 3, nothing was written|size=0GB time=41s")
        return Reading(
            "OK",
            f"{what}: {size:.1f} GB in {took / 60:.0f} min, 0 errors"
            f"|size={size:.1f}GB time={took:.0f}s;7200;14400",
        )

    return check


def steady(words: str) -> Check:
    """A thing that is well or is not, and measures nothing."""

    def check(m: Moment) -> Reading:
        if m.trouble() == 1:
            return Reading("FAIL", "timed out after 10 s")
        return Reading("OK", words)

    return check


def ping(host: str, rtt_ms: float) -> Check:
    def check(m: Moment) -> Reading:
        rtt = rtt_ms * (1 + 0.3 * m.noise(120)) * (1 + 1.6 * (m.trouble() > 0))
        lost = 20 if m.trouble() == 1 else 0
        state = max(level(rtt, 2 * rtt_ms, 6 * rtt_ms), level(lost, 5, 40), key=STATES.index)
        return Reading(
            state,
            f"{host}: rtt {rtt:.1f} ms, {lost}% lost"
            f"|rtt={rtt:.1f}ms;{2 * rtt_ms:g};{6 * rtt_ms:g};0 lost={lost}%;5;40;0;100",
        )

    return check


UNITS = "s", "ms", "%"
STATES = ("OK", "UNK", "WARN", "FAIL")
