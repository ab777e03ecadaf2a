"""Container images of every row: the table (`platforms.toml`), the lock (`lock.json`), and the verbs of `python -m
images.bake`.
"""
