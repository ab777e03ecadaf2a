"""A small mobile base in a walled room, on the topics a real one has, so that every other part can be run and measured
without hardware.
"""
