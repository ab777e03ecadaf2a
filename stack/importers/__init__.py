"""From somebody else's checkpoint to what `homeport model pack` takes. One folder for each kind of checkpoint.

init.py             `homeport model init`: a folder with a drafted vla.toml
draft.py            the tables of a vla.toml, in their order
sections.py         its parts that all kinds of checkpoints have
graph_part.py       its last part, which `homeport model export` writes anew
hints.py            what a dataset, a tokenizer and a robot.toml say
statistics_file.py  norm_stats.json
toml_text.py        TOML with comments
onnx/, lerobot/     the kinds
"""
