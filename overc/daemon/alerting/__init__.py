"""What becomes of an alert: who gets it and when, how it is sent, what keeps it back, and why."""
