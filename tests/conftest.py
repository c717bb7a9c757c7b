"""How tests are spread over processes that run them side by side."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep those of a file together, since they share servers, and all that need a browser: two of
    them take all of a small machine.
    """
    tests = config.rootpath / "tests"
    for item in items:
        path = item.path.relative_to(tests)
        group = "browser" if path.parts[0] == "browser" else path.as_posix()
        item.add_marker(pytest.mark.xdist_group(group))
