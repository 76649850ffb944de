"""The whole platform under load, measured from outside: latency to a client, to a commit, cores and memory."""
