"""Wire formats: encode beside decode, one a file, one table.

Decoders take whatever bytes come. Bad readings are rejects with a `batch.Reason`; a body that is no such
thing at all is a ProtocolError that names one. None raises anything else, or takes more than its limits.
"""

from __future__ import annotations

from millrace.protocols.columns import Columns
from millrace.protocols.dictionary import Dictionary
from millrace.protocols.inflate import inflate
from millrace.protocols.json_reading import explain, reading_json
from millrace.protocols.limits import Limits
from millrace.protocols.record import decode_record
from millrace.protocols.table import BY_NAME, PROTOCOLS, Format, by_content_type, sniff

__all__ = [
    "BY_NAME",
    "PROTOCOLS",
    "Columns",
    "Dictionary",
    "Format",
    "Limits",
    "by_content_type",
    "decode_record",
    "explain",
    "inflate",
    "reading_json",
    "sniff",
]
