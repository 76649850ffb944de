"""The pure part: records and state in, outputs and state out. No I/O, no clock, no randomness of its own.

Read `shard.py` first: it is the flow of one shard on one screen.
"""
