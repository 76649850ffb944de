"""What every test takes for granted."""

from hypothesis import settings

# No test is about time: an example that took long on a busy machine is no failure.
settings.register_profile("millrace", deadline=None)
settings.load_profile("millrace")
