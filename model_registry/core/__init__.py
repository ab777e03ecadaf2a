"""What everybody shares, with the standard library only: the agent packs this package into its one file.

documents, digest, toml      strict JSON and TOML, and what bytes are named by
dsse                         signatures
release, contract, channel   what is signed: releases, a model's contract, channel records
paths, onnx_parts, axes      files of a model, and what its graphs take and give
robot, domain, stop_words    what is true of a robot
gate                         the result of a judgement
layout, files                where things are on a robot, and how they become durable
lines, cdr                   messages between processes: lines of JSON on sockets, and ROS messages
errors, visible, reasons     what goes wrong, and how foreign text is shown
logs                         the form of a line of a log
version, examples            of the programs themselves
"""
