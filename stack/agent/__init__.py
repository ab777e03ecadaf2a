"""The agent changes the release of one robot, and changes it back.

Standard library and `model_registry.core` only: it is packed as one file (`build.py`).

Its rooms, from above to below; a room imports from those below it only:

    cli, api, upkeep, doctor    what is typed, what is answered, what goes on by itself, what is examined
    change                      staging, cutover, probation, commit, the way back, recovery
    gate                        the judgement on a release
    host.py, work.py            one robot, and what goes on on it now
    disk, runtime               what outlives the agent; how a release runs
    settings, machine           what the site says; the machine under the agent
    supervisor.py, reports.py   what everybody uses

Six kinds of thread run in a serving agent. `Host` is shared by all; what goes on now is in `Work`:

    main         keeps what is committed running (`upkeep/keeper.py`), once a second, unless `work.busy` is held;
                 ends when `host.stopping` is set by SIGTERM or SIGINT
    accept       waits for clients of agent.sock, and starts a connection for each
    connection   answers one client (`api/verbs.py`); whoever changes the robot holds `work.claim`, and `work.busy` but
                 while it stages; woken by lines of its client, called off by `work.abort`
    probation    watches a release that waits for its commit (`change/probation.py`); it, a connection or the deadline
                 decides, one of them; it then owns the claim
    beat         renews the leases of claim and agent, and tells systemd that the agent is alive (`upkeep/beat.py`)
    archivist    copies images while `work.idle`, at low priority (`upkeep/archivist.py`)
"""
