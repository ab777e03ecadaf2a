"""Results and status as plain lines for people."""

from __future__ import annotations

from collections.abc import Mapping


def summary(result: Mapping[str, object]) -> str:
    """One sentence about a verb's result."""
    verb, stage, version = result["verb"], result["stage"], result["version"]
    plan = result["plan"]
    if isinstance(plan, dict):
        steps = ", ".join(plan["steps"]) or "nothing to do"
        return f"{verb}: would do {steps}; engine build: {'yes' if plan['engine_build'] else 'no'}"
    what = f" {version}" if version else ""
    if not result["changed"]:
        return f"{verb}{what}: nothing to change"
    seconds, fetched, built = result["seconds"], result["bytes_fetched"], result["engines_built"]
    return f"{verb}{what}: {stage} after {seconds} s, {fetched} bytes fetched, {built} engines built"


def status_lines(status: Mapping[str, object]) -> list[str]:
    """A small table of what runs here."""

    def version(key: str) -> str:
        release = status[key]
        return (
            f"{release['name']} {release['version']} ({release['digest'][7:19]})" if isinstance(release, dict) else "-"
        )

    lines = [
        f"{status['name']}: {'healthy' if status['healthy'] else 'NOT HEALTHY'}, {status['stage']}",
        *(f"  {key:9} {version(key)}" for key in ("running", "current", "previous", "fallback")),
    ]
    slots = status["slots"]
    assert isinstance(slots, dict)
    for name, slot in slots.items():
        text = f"{slot['release'][7:19]} {slot['state']} pid {slot['pid'] or '-'}" if slot else "-"
        lines.append(f"  slot {name}    {text}")
    failure = status["failure"]
    if isinstance(failure, dict):
        lines.append(f"  failure   {failure['stage']} {failure['metric']}: {failure['message']}")
    return lines
