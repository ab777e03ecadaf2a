"""A LeRobot policy directory (0.4 and 0.6) becomes ONNX graphs, and goldens that LeRobot itself computed.

This runs in the publisher's own environment, where LeRobot and PyTorch are installed (extra `homeport[lerobot]`);
robots never need either.

    policy = loading.load(directory)                     refuses what cannot be exported, before anything is computed
    exported = export.export(policy, folder)             graphs in the folder, and how they are wired
    seen = goldens.observations(policy, count=20, seed=1)
    actions = goldens.actions(policy, seen[0])           through LeRobot's own pipelines, in units

    directory.py   config.json and both pipelines, read as JSON; every refusal that needs no PyTorch
    normalisation.py   modes of both pipelines, and their statistics
    draft.py       `homeport model init`: a drafted vla.toml, without PyTorch
    loading.py     LeRobot's policy and pipelines of a directory, on the CPU, in float32
    act.py         one graph a frame
    smolvla.py     a prefix a frame, an expert a step of Euler's method
    diffusion.py   observations a frame, a U-Net a step of DDIM
    onnx_file.py   a PyTorch module as an ONNX file
    exported.py    what an export tells: graphs, loop, output

Graphs take normalised tensors and give normalised actions: statistics, letterbox and words belong to Homeport's own
preparation. Nothing is ever unpickled: safetensors and JSON only.

Export with the versions that trained the policy. Goldens come from those that are installed, so they cannot tell: the
same weights of SmolVLA act differently under transformers 4.57 and 5.5, which number the patches of an image otherwise.
"""
