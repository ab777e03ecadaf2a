"""The numbers that training, packaging and evaluation share, apart from the network so that they need no torch."""

from __future__ import annotations

IMAGE_SIZE = 112
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
SECTORS = 90
MAX_RANGE_M = 3.0
EXECUTE_STEPS = 6
CONTROL_HZ = 20
