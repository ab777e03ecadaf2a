"""What an operator types, verb by verb: the last lines of each help text of `homeport-agent`."""

from __future__ import annotations

_RELEASE = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("homeport-agent status", "homeport-agent rollback", "homeport-agent arm"),
    "serve": ("homeport-agent serve", "homeport-agent --root ~/robot serve"),
    "status": ("homeport-agent status", "homeport-agent status --json"),
    "unhold": ("homeport-agent unhold",),
    "arm": ("homeport-agent arm",),
    "reset": ("homeport-agent reset",),
    "recover": ("homeport-agent recover",),
    "stage": (f"homeport-agent stage {_RELEASE}", f"homeport-agent stage {_RELEASE} --dry-run"),
    "switch": (f"homeport-agent switch {_RELEASE}", f"homeport-agent switch {_RELEASE} --commit wait --deadline 300"),
    "commit": (f"homeport-agent commit {_RELEASE}",),
    "rollback": ("homeport-agent rollback", "homeport-agent rollback --to fallback --now"),
    "pin": ("homeport-agent pin", f"homeport-agent pin {_RELEASE}"),
    "trust": ("homeport-agent trust trust-2.dsse.json",),
    "prune": ("homeport-agent prune --dry-run", "homeport-agent prune"),
    "hold": ('homeport-agent hold --reason "the floor is wet"',),
    "drain": ('homeport-agent drain --reason "change of wheels"',),
    "doctor": ("homeport-agent doctor", "homeport-agent doctor --only disk clock --json"),
    "run-slot": ("homeport-agent run-slot a",),
}
"""By verb; the empty name is for the program as a whole."""
