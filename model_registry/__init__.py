"""Version, sign, store and fetch models and releases.

`model_registry.core` is the part that robots' agents carry: standard library only.
"""
