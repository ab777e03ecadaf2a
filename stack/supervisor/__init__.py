"""The supervisor: an independent process, and the only writer of `/cmd_vel`.

Everything but `node.py` is plain Python without ROS: `Supervisor` takes messages and requests in, and gives one
`Output` per tick.
"""
