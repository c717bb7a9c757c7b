"""What our two twistd commands have in common."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.python import usage

from overc import journal


class TwistdOptions(usage.Options):
    """The command line of a daemon, whose mistakes are mostly in a file."""

    parent: Any = None
    """The options of twistd itself."""

    mistakes: tuple[type[Exception], ...] = ()
    """What `read_settings` raises for a mistake, with a sentence for whoever made it."""

    def read_settings(self) -> None:
        """Read the configuration and try what it names."""

    def postOptions(self) -> None:
        try:
            self.read_settings()
        except self.mistakes as e:
            # With a UsageError twistd would tell first how it is called, in ten lines.
            raise SystemExit(str(e)) from None
        self._log_to_journal()

    def _log_to_journal(self) -> None:
        """Have twistd log for the journal where nobody said where to log."""
        chosen = self.parent
        if chosen is None or not journal.is_connected(os.environ, sys.stdout):
            return
        elsewhere = chosen["logfile"] or chosen["syslog"] or chosen["logger"]
        if chosen["nodaemon"] and not elsewhere:
            chosen["logger"] = f"{journal.__name__}.{journal.from_standard_output.__name__}"
