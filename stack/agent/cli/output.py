"""What `homeport-agent` prints for people: the lines about each verb's result, and a small table of the status."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from model_registry.core.visible import visible, visible_lines

_MIB = 1 << 20
_LOG_LINES = 5


def write(text: str, stream: TextIO | None = None) -> None:
    """Print at once, to stdout unless another stream is given."""
    stream = stream or sys.stdout
    stream.write(f"{visible_lines(text)}\n")
    stream.flush()


def say(text: str) -> None:
    """Tell a person one line: progress and errors, on stderr."""
    write(visible(text), sys.stderr)


def page(rows: Iterable[object]) -> str:
    """Rows as they are printed. Each stays one line, whatever a robot, a release or a hook has said in it."""
    return "\n".join(map(visible, rows))


def summary(result: Mapping[str, Any]) -> str:
    """One sentence about a verb's result, or a line for each thing that `prune` removes."""
    if result["verb"] == "prune" and result["removed"] and result["plan"] is None:
        return page([*removed_lines(result["removed"]), freed_line(result)])
    return visible(_sentence(result))


def removed_lines(removed: Iterable[Mapping[str, Any]]) -> list[str]:
    """What was taken off the disk, or would be."""
    return [f"{each['kind']} {each['name']}  {each['bytes']} bytes" for each in removed]


def freed_line(result: Mapping[str, Any]) -> str:
    """How much that is."""
    return f"{result['bytes_freed']} bytes {'freed' if result['changed'] else 'would be freed'}"


def _sentence(result: Mapping[str, Any]) -> str:
    what = f"{result['verb']} {result['version']}" if result["version"] else result["verb"]
    if (plan := result["plan"]) is not None:
        steps = ", ".join(plan["steps"]) or "nothing to do"
        window = f"; {window_line(plan['window'])}" if plan["window"] else ""
        return f"{result['verb']}: would do {steps}; engine build: {'yes' if plan['engine_build'] else 'no'}{window}"
    if not result["changed"]:
        return f"{what}: nothing to change"
    if result["verb"] in ("hold", "drain", "unhold", "arm", "reset", "pin", "trust"):
        return f"{what}: done"
    fetched = result["bytes_fetched"]
    built = result["engines_built"]
    return f"{what}: {result['stage']} after {result['seconds']} s, {fetched} bytes fetched, {built} engines built"


def window_line(window: Mapping[str, Any]) -> str:
    """One sentence about the maintenance windows."""
    return f"window open, then next {window['next']}" if window["open"] else str(window["reason"])


def slot_lines(name: str, slot: Mapping[str, Any] | None) -> list[str]:
    """What runs in a slot and on which processor, why it says nothing, and what is wrong with its inputs."""
    if slot is None:
        return [f"  slot {name}    -"]
    void = f", says nothing: {slot['void_reason']}" if slot["void_reason"] else ""
    row = f"  slot {name}    {slot['release'][7:19]} {slot['state']} pid {slot['pid'] or '-'}{void}"
    told = [f"processor: {slot['processor']}"] if slot["processor"] else []
    told += [f"{source}: {text}" for source, text in slot["faults"].items()]
    return [row, *(f"            {text}" for text in told)]


def motion_line(motion: Mapping[str, Any] | None) -> str:
    """Whether the robot may move, and who or what keeps it from that."""
    if motion is None:
        return "nobody says whether it may move"
    held = [f"held by {each['owner']}: {each['reason']}" for each in motion["held"]]
    why = "; ".join([*held, *motion["stopped_by"]])
    return f"{'armed' if motion['armed'] else 'not armed'}, {motion['state']}{f' ({why})' if why else ''}"


def condition_lines(status: Mapping[str, Any]) -> list[str]:
    """Disk, engine, clock and way back, a line each."""
    disk, engine, clock, back = (status[key] for key in ("disk", "engine", "clock", "way_back"))
    rows = [f"disk      {disk['folder']}: {disk['free_bytes'] >> 20} MiB free"]
    if engine is not None:
        rows.append(f"engine    {'answers' if engine['alive'] else engine['trouble']}")
    rows.append(f"clock     {clock['doubt'] or clock['stands']}")
    if back["reason"] is not None:
        rows.append(f"way back  none now: {back['reason']}")
    return rows


def transfer_line(transfer: Mapping[str, Any]) -> str:
    """How much of a fetch is here, how fast it goes and how long it still takes."""
    done, total, rate, left_s = (transfer[key] for key in ("done", "total", "rate", "left_s"))
    whole = "" if total is None else f" of {total / _MIB:.1f}"
    left = "" if left_s is None else f", {left_s} s left"
    return f"{done / _MIB:.1f}{whole} MiB, {rate / _MIB:.1f} MiB/s{left}"


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """A small table of what runs here."""
    rows = [f"{status['name']}: {'healthy' if status['healthy'] else 'NOT HEALTHY'}, {status['stage']}"]
    for key in ("running", "current", "previous", "fallback"):
        release = status[key]
        text = f"{release['name']} {release['version']} ({release['digest'][7:19]})" if release else "-"
        rows.append(f"  {key:9} {text}")
    for name, slot in status["slots"].items():
        rows += slot_lines(name, slot)
    rows.append(f"  supervisor {status['supervisor'] or 'silent'}, {motion_line(status['motion'])}")
    rows += [f"  {text}" for text in condition_lines(status)]
    rows += [f"  not heard {text}" for text in status["unheard"]]
    if (transfer := status.get("transfer")) is not None:
        rows.append(f"  fetching  {transfer_line(transfer)}")
    if (wait := status["wait"]) is not None:
        rows.append(f"  waits for {'; '.join(wait['for']) or 'nothing more of the robot'}")
    if status["window"] is not None:
        rows.append(f"  window    {window_line(status['window'])}")
    for key, words in (("failure", "failure  "), ("restore_failure", "then     ")):
        if failure := status[key]:
            figures = ", ".join(
                f"{name} {failure[name]:g}" for name in ("value", "threshold") if failure[name] is not None
            )
            rows.append(
                f"  {words} {failure['stage']} {failure['metric']} ({figures or 'no figure'}): {failure['message']}"
            )
    rows += [f"  log       {line}" for line in status["log"][-_LOG_LINES:]] if status["failure"] else []
    return rows
