"""Hold the robot again, in the agent's name, and end with 0 when it stands: commanded and measured speed are zero."""

import json
import socket
import sys

HOLD = {"v": 1, "verb": "hold", "owner": "homeport-agent hold", "reason": "the role device changes the supervisor"}

with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(5)
    connection.connect("/run/homeport/control/control.sock")
    connection.sendall(json.dumps(HOLD).encode() + b"\n")
    answer = json.loads(connection.makefile().readline())
sys.exit(0 if answer.get("result", {}).get("at_zero") else f"the robot still moves: {answer}")
