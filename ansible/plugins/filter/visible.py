"""`homeport_visible`: what a robot has said, as it may be shown."""

from __future__ import annotations

from typing import Any

from ansible_collections.homeport.fleet.plugins.module_utils.visible import visible_values


class FilterModule:
    """What roles and playbooks see."""

    def filters(self) -> dict[str, Any]:
        return {"homeport_visible": visible_values}
