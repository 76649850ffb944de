"""What every test takes for granted."""

import os

from hypothesis import settings

# The servers of tests are on this machine: a proxy that the shell names cannot reach them.
for name in ("NO_PROXY", "no_proxy"):
    os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost")))

# No test is about time: an example that took long on a busy machine is no failure.
settings.register_profile("millrace", deadline=None)
settings.load_profile("millrace")
