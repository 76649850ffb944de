"""The command line of the infrastructure."""

from __future__ import annotations

import sys

from millrace_infra.commands import main

sys.exit(main())
