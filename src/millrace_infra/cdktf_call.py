"""What the line `app` of cdktf.json runs: name, suffix and region come out of the environment, as CDKTF passes them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final

from millrace.errors import MillraceError
from millrace_infra.settings import known, load

DEFAULT: Final = "dev"


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Writes the stacks where CDKTF looks for them; what cannot work is one sentence, and nothing is written."""
    try:
        suffix, region = environ.get("ENVIRONMENT_SUFFIX", "dev"), environ.get("AWS_REGION", "")
        environment = load(environ.get("ENV") or _of_region(region, suffix), suffix, region=region)
        from millrace_infra.app import build  # loads the CDK, which starts Node: not for a wrong setting

        build(environment, outdir=environ.get("CDKTF_OUTDIR", "cdktf.out")).synth()
    except MillraceError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _of_region(region: str, suffix: str) -> str:
    """Where ENV names none: `dev` in dev's own region, elsewhere the environment that is called like the region."""
    elsewhere = region in known() and load(DEFAULT, suffix).region != region
    return region if elsewhere else DEFAULT


if __name__ == "__main__":
    sys.exit(main())
