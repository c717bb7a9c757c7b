"""Builds the agent out of its parts: for `twistd overc-agent`, and for `overcli monitor`.

twistd [-n] [--pidfile=] overc-agent [--config FILE]
"""

from __future__ import annotations

import os
import random
import sys
from typing import Any

from twisted.application.service import IService
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python import usage

from overc import lifecycle
from overc.agent.push import HttpPusher
from overc.agent.service import MonitorService
from overc.agent.settings import AgentSettings, load
from overc.clock import put_on_monotonic_clock
from overc.config import ConfigError
from overc.logging import set_level
from overc.process import Runner

DEFAULT_CONFIG = "/etc/overc/agent.ini"

SECRETS = ("OVERC_MY_KEY", "OVERC_SERVER")
"""Environment variables that plugins have no business with; a URL may hold a password."""


class Options(usage.Options):
    """The command line. `settings` holds what the file, the environment and it say."""

    optParameters = [  # noqa: RUF012
        [
            "config",
            "c",
            None,
            f"The INI file; the default is OVERC_CONFIG, or else {DEFAULT_CONFIG}",
        ],
    ]

    settings: AgentSettings

    def postOptions(self) -> None:
        path = self["config"] or os.environ.get("OVERC_CONFIG") or DEFAULT_CONFIG
        try:
            self.settings = load(path, os.environ, {})
        except ConfigError as e:
            raise usage.UsageError(str(e)) from None


def makeService(options: Options) -> IService:
    """Return the agent for twistd, on the global reactor."""
    from twisted.internet import reactor

    put_on_monotonic_clock(reactor)
    lifecycle.exit_cleanly_on_signals(reactor)
    set_level(options.settings.loglevel)
    return make_agent(reactor, options.settings)


def make_agent(reactor: Any, settings: AgentSettings) -> IService:
    """Return the agent on a reactor, whose clock should be a monotonic one."""
    environ = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return MonitorService(
        reactor,
        settings,
        Runner(reactor),
        HttpPusher(reactor, settings.server, settings.identity),
        environ=environ,
        random=random.random,
    )


def run_in_foreground(settings: AgentSettings, verbose: bool = False) -> int:
    """Run the agent until SIGINT or SIGTERM, logging on standard error; return an exit status."""
    from twisted.internet import reactor

    put_on_monotonic_clock(reactor)
    set_level("DEBUG" if verbose else settings.loglevel)
    globalLogBeginner.beginLoggingTo(
        [textFileLogObserver(sys.stderr)], redirectStandardIO=False, discardBuffer=True
    )
    agent = make_agent(reactor, settings)
    global_reactor: Any = reactor
    global_reactor.callWhenRunning(agent.startService)
    global_reactor.addSystemEventTrigger("before", "shutdown", agent.stopService)
    global_reactor.run()
    return 0
