"""What happens to a robot that drives while a release is staged beside it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.fakes.rig import Answer, Rig


@contextmanager
def fetching(rig: Rig, release: str) -> Iterator[Callable[[], Answer]]:
    """A stage that fetches until `go`, asked in a process of its own; its answer, once it ended."""
    (rig.source / "slow").touch()
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(rig.call("stage", release)))
    thread.start()
    try:
        rig.until((rig.source / "slow.seen").exists, "the stage fetches")

        def ended() -> Answer:
            thread.join(60)
            return answers[0]

        yield ended
    finally:
        (rig.source / "go").touch()
        thread.join(60)


def test_a_rollback_ends_staging_and_the_next_try_succeeds(rig: Rig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    with fetching(rig, two) as ended:
        answer = rig.run("rollback")
        assert "called off by a rollback" in ended().message
    assert answer.code == 0 and answer.result["release"] == one
    status = rig.status()
    assert status["healthy"] and status["stage"] == "IDLE" and status["quarantined"] == []
    assert status["failure"]["stage"] == "FETCH" and not list(rig.layout.ingest.iterdir())
    assert rig.run("stage", two).code == 0


def test_a_slot_that_dies_while_a_release_is_staged_is_started_again(rig: Rig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    with fetching(rig, two):
        pid = rig.processes()["a"]
        assert pid is not None
        os.kill(pid, 9)
        rig.until(lambda: rig.run("status").code == 0 and rig.processes()["a"] != pid, "the slot runs again")
        assert rig.status()["stage"] == "FETCH"
