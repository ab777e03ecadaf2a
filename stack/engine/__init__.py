"""Engines: what a backend builds from a model on one device, the key it is kept under, and the gates it passes before
it may drive.
"""
