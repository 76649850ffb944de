"""The stream: one durable log a shard between the door and the workers, behind one contract."""
