"""A plant that is simulated, its faults and scenarios, and datasets replayed as if live.

Start with `plant.py` (what is there and when it is read), then `equipment.py` (what each machine measures).
"""
