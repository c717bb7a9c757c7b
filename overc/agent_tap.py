"""Builds the agent out of its parts: for `twistd overc-agent`, and for `overcli monitor`.

twistd [-n] [--pidfile=] overc-agent [--config FILE_OR_FOLDER]...
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
from functools import partial
from typing import Any

from twisted.application.service import IService
from twisted.logger import globalLogBeginner

from overc import journal, lifecycle, sd_notify
from overc.agent.failover import Servers
from overc.agent.link import Parts
from overc.agent.outbox import Outbox
from overc.agent.push import HttpPusher
from overc.agent.reload import Reload
from overc.agent.service import MonitorService
from overc.agent.settings import AgentSettings, load
from overc.clock import SystemClock, put_on_monotonic_clock
from overc.config import ConfigError
from overc.logging import set_level
from overc.process import Runner
from overc.supervision import Supervision
from overc.twistd_options import TwistdOptions

DEFAULT_CONFIG = "/etc/overc/agent.ini"

SECRETS = ("OVERC_MY_KEY", "OVERC_SERVER", *sd_notify.VARIABLES)
"""Environment variables that plugins have no business with; a URL may hold a password."""


class Options(TwistdOptions):
    """The command line. `settings` holds what the files, the environment and it say."""

    mistakes = (ConfigError,)
    settings: AgentSettings

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[str] = []

    def opt_config(self, path: str) -> None:
        self.paths.append(path)

    # What --help says of it.
    opt_config.__doc__ = (
        "An INI file, or a folder with files *.ini; again for more."
        f" The default is OVERC_CONFIG, or else {DEFAULT_CONFIG}"
    )
    opt_c = opt_config

    def read_settings(self) -> None:
        self.paths = self.paths or [os.environ.get("OVERC_CONFIG") or DEFAULT_CONFIG]
        # What is read again later is read from the same files, whatever the folder is then.
        self.paths = [os.path.abspath(path) for path in self.paths]
        self.settings = self.read()

    def read(self) -> AgentSettings:
        """Read the files. Raises ConfigError."""
        return load(self.paths, os.environ, {})


def makeService(options: Options) -> IService:
    """Return the agent for twistd, on the global reactor."""
    from twisted.internet import reactor

    put_on_monotonic_clock(reactor)
    # What there is by now stays: no need to look for garbage in it again and again.
    gc.collect()
    gc.freeze()
    # The spool's thread and the reactor take turns often.
    sys.setswitchinterval(0.0005)
    lifecycle.exit_cleanly_on_signals(reactor)
    set_level(options.settings.loglevel)
    agent = make_agent(reactor, options.settings)
    supervision = Supervision(reactor, sd_notify.Notifier(os.environ), agent.is_alive)
    reload = Reload(options.read, agent, supervision)
    lifecycle.call_on_signal(reactor, signal.SIGHUP, reload.ask)
    global_reactor: Any = reactor
    global_reactor.callWhenRunning(lambda: supervision.ready(agent.status()))
    return lifecycle.together(agent, supervision)


def make_agent(reactor: Any, settings: AgentSettings) -> MonitorService:
    """Return the agent on a reactor, whose clock should be a monotonic one."""
    clock = SystemClock()

    def outbox(chosen: AgentSettings) -> Outbox:
        return Outbox(
            reactor,
            chosen.identity.name,
            chosen.spool,
            clock=clock,
            refused=partial(lifecycle.fail, reactor),
        )

    def pusher(chosen: AgentSettings) -> Servers:
        pushers = [
            HttpPusher(reactor, server, chosen.identity, tls=chosen.tls)
            for server in chosen.servers
        ]
        return Servers(reactor, pushers, random.random)

    environ = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return MonitorService(
        reactor,
        settings,
        Runner(reactor),
        Parts(outbox, pusher),
        environ=environ,
        random=random.random,
        seconds=clock.steady,
    )


def run_in_foreground(settings: AgentSettings, verbose: bool = False) -> int:
    """Run the agent until SIGINT or SIGTERM, logging on standard error; return an exit status."""
    from twisted.internet import reactor

    put_on_monotonic_clock(reactor)
    set_level("DEBUG" if verbose else settings.loglevel)
    globalLogBeginner.beginLoggingTo(
        [journal.observer_for(sys.stderr, os.environ)],
        redirectStandardIO=False,
        discardBuffer=True,
    )
    agent = make_agent(reactor, settings)
    global_reactor: Any = reactor
    global_reactor.callWhenRunning(agent.startService)
    global_reactor.addSystemEventTrigger("before", "shutdown", agent.stopService)
    global_reactor.run()
    return 0
