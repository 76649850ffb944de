"""The first live page: rate, lag, latency, rejects, newest anomalies, one trend. A process of its own."""
