"""The stores that `process` writes to: archive, operational store, real-time store."""
