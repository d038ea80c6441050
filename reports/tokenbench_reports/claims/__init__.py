"""The ledger of published numbers: what papers say, whether it adds up, and how it stands beside what was measured.

Retention is compared rather than scores: it does not depend on a benchmark's scale, and a paper's own vanilla is part
of its claim.
"""

from tokenbench_reports.claims.comparing import NARROW, SAME_IMAGES, Reproduction, beside, short_name
from tokenbench_reports.claims.consistency import DIFFER, audit, differing
from tokenbench_reports.claims.printed import Claim, Printed, ledger, printed_rows

__all__ = [
    "DIFFER",
    "NARROW",
    "SAME_IMAGES",
    "Claim",
    "Printed",
    "Reproduction",
    "audit",
    "beside",
    "differing",
    "ledger",
    "printed_rows",
    "short_name",
]
