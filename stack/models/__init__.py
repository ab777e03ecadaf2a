"""The reference policy: its network, its teacher, its training, and the packaged models in `reference/`.

torch and onnx are needed for `train` alone; nothing that runs on a robot imports them.
"""
