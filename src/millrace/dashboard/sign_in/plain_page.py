"""Pages before the page: signing in, and what went wrong with it. No script, nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Final

from starlette.responses import HTMLResponse

SIGN_IN: Final = "/sign-in"
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
}
FRAME = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Millrace</title>
<meta name="viewport" content="width=device-width"><style>
:root{{color-scheme:light dark}}
body{{font:16px system-ui,sans-serif;display:grid;place-items:center;min-height:100vh;margin:0}}
main,form{{display:grid;gap:.8rem}}main{{width:min(22rem,90vw)}}
h1{{font-size:1.3rem;margin:0}}p{{margin:0;opacity:.75;line-height:1.4}}
input,button,.button{{font:inherit;padding:.6rem;border-radius:.4rem;border:1px solid #8888;text-align:center}}
button,.button{{cursor:pointer;background:#2563eb;color:#fff;border:0;text-decoration:none}}
.wrong{{color:#dc2626;opacity:1}}</style></head>
<body><main><h1>Millrace</h1>{inner}</main></body></html>"""


def plain_page(inner: str, status: int) -> HTMLResponse:
    """`inner` is HTML; what comes from elsewhere in it is escaped already."""
    return HTMLResponse(FRAME.format(inner=inner), status, HEADERS)


def told(sentence: str, status: int, *, go_on: str, wrong: bool = True) -> HTMLResponse:
    """One sentence, and a button `go_on` that begins a sign-in. Any text may be said."""
    kind = ' class="wrong"' if wrong else ""
    button = f'<a class="button" href="{SIGN_IN}">{escape(go_on)}</a>'
    return plain_page(f"<p{kind}>{escape(sentence)}</p>{button}", status)
