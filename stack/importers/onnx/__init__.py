"""ONNX files of anybody: their ends are read, what an input is gets guessed, and the rest is asked.

ends.py      what a file takes and gives
guess.py     what fills each input, and in which order graphs run
cameras.py   image inputs as cameras
graphs.py    wires, loop and output
draft.py     all of it as a drafted vla.toml
"""
