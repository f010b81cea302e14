"""Predictions for files of series: Arrow record batches in, Arrow record batches out."""

from __future__ import annotations

from fastseq.scoring.batches import score_batches
from fastseq.scoring.errors import ScoringError
from fastseq.scoring.files import ScoreSummary, score

__all__ = ["ScoreSummary", "ScoringError", "score", "score_batches"]
