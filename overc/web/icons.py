"""The icons of a tab that shows how many problems there are. Pure."""

from __future__ import annotations

COUNTED_MAX = 9

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="7" fill="#c02620"/>'
    '<text x="16" y="24.5" text-anchor="middle" fill="#fff" font-size="{size}" font-weight="700"'
    ' font-family="system-ui, sans-serif">{text}</text></svg>\n'
)


def icon_name(count: int) -> str:
    """Return the file of the icon for so many problems."""
    if count == 0:
        return "icon.svg"
    return f"icon-{count if count <= COUNTED_MAX else 'many'}.svg"


def counting_icons() -> dict[str, bytes]:
    """Return the files of the icons, by their names; more problems than nine are many."""
    icons = {
        f"icon-{count}.svg": _ICON.format(size=25, text=count)
        for count in range(1, COUNTED_MAX + 1)
    }
    icons["icon-many.svg"] = _ICON.format(size=21, text=f"{COUNTED_MAX}+")
    return {name: text.encode() for name, text in icons.items()}
