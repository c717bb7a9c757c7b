"""The yard-stick: the least that twisted.web can do for a POST. Prints its port, then serves.

A bare Resource on a default Site, without an access log, answers every POST with a constant.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

reactor: Any = installed


class Constant(Resource):
    isLeaf = True

    def render_POST(self, request: Request) -> bytes:
        return b'{"ok":1}'


class QuietSite(Site):
    def log(self, request: object) -> None:
        """Leave out the access log, which the server has not either."""


def main() -> None:
    listening = serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(QuietSite(Constant()))
    listening.addCallback(lambda port: print(port.getHost().port, flush=True))
    reactor.run()


if __name__ == "__main__":
    main()
