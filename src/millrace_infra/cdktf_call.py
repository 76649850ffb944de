"""What the line `app` of cdktf.json runs: name, suffix and region come out of the environment, as CDKTF passes them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from millrace.errors import MillraceError
from millrace_infra.settings import load


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Writes the stacks where CDKTF looks for them; what cannot work is one sentence, and nothing is written."""
    try:
        environment = load(
            environ.get("ENV", "dev"),
            environ.get("ENVIRONMENT_SUFFIX", "dev"),
            region=environ.get("AWS_REGION", ""),
        )
        from millrace_infra.app import build  # loads the CDK, which starts Node: not for a wrong setting

        build(environment, outdir=environ.get("CDKTF_OUTDIR", "cdktf.out")).synth()
    except MillraceError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
