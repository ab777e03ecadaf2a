"""The reference policy: its network, its teacher, its training, the packaged models in `reference/`, and the seed's
four networks.

torch and onnx are needed for `train` and `seed` alone; nothing that runs on a robot imports them.
"""
