"""The machine under the agent: its programs, processes, clock, disks and slots of the operating system."""
