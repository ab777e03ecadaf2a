"""How missed ticks are counted: the count itself must not flatter."""

from __future__ import annotations

from pathlib import Path

from tests.testbed import ticks

OLD, NEW = "a" * 12, "b" * 12


def heard(
    until_s: float,
    *,
    silent: tuple[float, float] = (9, 9),
    zero: tuple[float, float] = (9, 9),
    dead: tuple[float, float] = (9, 9),
):
    """Two seconds of 50 Hz commands around a change at 1.0 s, with a stretch that is silent, zero, or derived from no
    action.
    """
    records = []
    for index in range(round(until_s * 50)):
        t = index * 0.02
        if silent[0] <= t < silent[1]:
            continue
        v = 0.0 if zero[0] <= t < zero[1] else 0.3 + index * 1e-4
        source = "" if dead[0] <= t < dead[1] else f"{OLD if t < 1.0 else NEW}/1/{index}"
        records.append({"k": "cmd", "t": t, "v": v, "w": 0.0})
        records.append({"k": "applied", "t": t + 0.0005, "v": v, "w": 0.0, "id": source})
        records.append({"k": "odom", "t": t, "v": 0.3, "w": 0.0})
    return records


def test_a_clean_cutover_misses_nothing() -> None:
    cut = ticks.cutover(heard(2.1), 1.0)

    assert cut.missed_ticks == 0
    assert cut.moving
    assert 19 <= cut.max_gap_ms <= 21
    assert set(cut.releases) == {OLD, NEW}


def test_silence_counts_as_missed() -> None:
    cut = ticks.cutover(heard(2.1, silent=(1.0, 1.2)), 1.0)

    assert cut.missed_ticks >= 3
    assert cut.max_gap_ms >= 200


def test_zeros_count_as_missed() -> None:
    assert ticks.cutover(heard(2.1, zero=(1.0, 1.2)), 1.0).missed_ticks >= 3


def test_a_repeated_command_without_a_live_action_counts_as_missed() -> None:
    assert ticks.cutover(heard(2.1, dead=(1.0, 1.2)), 1.0).missed_ticks >= 3


def test_silence_that_lasts_until_the_end_is_a_gap() -> None:
    assert ticks.cutover(heard(2.1, silent=(1.5, 9)), 1.0).max_gap_ms >= 480


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "heard.jsonl"
    file.write_text('{"t":1,"k":"ready"}\n{"t":2,"k":"cm')

    assert ticks.read(file) == [{"t": 1, "k": "ready"}]
