"""The front door and the producer client: bound, frame, append; nothing is acknowledged before it lasts."""
