"""Send one notification by Apprise: `python -m overc.daemon.alerting.notify_child`.

Reads one JSON object with url, title, body and type from its standard input. Exit status 0 means
that it was delivered; else the reason is printed.
"""

from __future__ import annotations

import json
import logging
import sys
from importlib.util import find_spec

MISSING = "Apprise is not installed: pip install 'overc[notify]'"


def is_installed() -> bool:
    return find_spec("apprise") is not None


def main() -> int:
    told = json.load(sys.stdin.buffer)
    if not is_installed():
        print(MISSING)
        return 1
    import apprise

    # What Apprise says of a failure, it says in its log.
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="%(message)s", force=True)
    sender = apprise.Apprise()
    if not sender.add(told["url"]):
        print("Apprise does not know such a URL: see https://github.com/caronc/apprise/wiki")
        return 1
    delivered = sender.notify(
        body=told["body"],
        title=told["title"],
        notify_type=told["type"],
        body_format=apprise.NotifyFormat.TEXT,
    )
    return 0 if delivered else 1


if __name__ == "__main__":
    sys.exit(main())
