"""Requests on their way to the tick: an operator's estop waits for nobody."""

from __future__ import annotations

from stack.supervisor.requests import Request, Ticket, Tickets


def waiting(*verbs):
    tickets = Tickets()
    for verb in verbs:
        tickets.append(Ticket(Request(verb), print))
    return tickets


def verbs(tickets):
    return [ticket.request.verb for ticket in tickets]


def test_an_estop_behind_any_number_of_requests_is_served_by_the_next_tick():
    tickets = waiting(*["status"] * 500, *["reset"] * 500, *["hold"] * 500, "estop")
    due = tickets.take()
    assert verbs(due.operator) == ["estop"]
    assert verbs(tickets.take().operator)[:1] == ["reset"]


def test_all_who_ask_for_the_status_are_served_by_one_tick():
    assert verbs(waiting(*["status"] * 32).take().status) == ["status"] * 32


def test_arm_and_reset_come_in_turn_and_each_tick_serves_one_verb():
    tickets = waiting("reset", "arm", "reset", "arm")
    assert [verbs(tickets.take().operator) for _ in range(3)] == [["reset", "reset"], ["arm", "arm"], []]


def test_what_changes_something_is_done_in_its_order_and_a_few_a_tick():
    tickets = waiting("hold", "select", "unhold", "hold", "select")
    assert [verbs(tickets.take().changes) for _ in range(3)] == [["hold", "select", "unhold", "hold"], ["select"], []]
