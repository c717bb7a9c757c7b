"""The server without HTTP: it takes reports, judges them, watches promises and sends alerts."""
