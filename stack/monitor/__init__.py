"""Watches the robot and says so on /diagnostics.

Never in the control path: nothing waits for it, and it only reads files and topics.
"""
