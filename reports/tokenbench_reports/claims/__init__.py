"""The ledger of published numbers: what papers say, whether it adds up, and how it stands beside what was measured.

Retention is compared rather than scores: it does not depend on a benchmark's scale, and a paper's own vanilla is part
of its claim.
"""

from tokenbench_reports.claims.comparing import NARROW, SAME_IMAGES, Reproduction, compare_claims, short_name
from tokenbench_reports.claims.consistency import DIFFER, audit, find_differing
from tokenbench_reports.claims.means import PublishedMean, find_reversal, published_means
from tokenbench_reports.claims.printed import Claim, Printed, group_rows, ledger
from tokenbench_reports.claims.scores import PublishedScores, published_scores

__all__ = [
    "DIFFER",
    "NARROW",
    "SAME_IMAGES",
    "Claim",
    "Printed",
    "PublishedMean",
    "PublishedScores",
    "Reproduction",
    "audit",
    "compare_claims",
    "find_differing",
    "find_reversal",
    "group_rows",
    "ledger",
    "published_means",
    "published_scores",
    "short_name",
]
