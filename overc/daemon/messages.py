"""What alert plugins read on their standard input. Pure."""

from __future__ import annotations

from overc.daemon.store.deliveries import Delivery

OWN_TITLE = "OverC"
"""Stands for the server in alerts that are about OverC itself."""


def render(delivery: Delivery) -> str:
    """Return the message of an alert: one line, and one more for a service that has a state."""
    who = " ".join(filter(None, (delivery.server_title or OWN_TITLE, delivery.service_title)))
    text = f"{who}: [{delivery.channel}/{delivery.event}] {delivery.message}\n"
    if delivery.state is not None:
        text += f"Current: {delivery.state}: {delivery.info}\n"
    return text
