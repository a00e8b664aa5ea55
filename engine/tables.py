"""Columns of numbers by optimizer step: what charts draw."""

from __future__ import annotations

from engine.columns.table import NAN, NOT_METRICS, MetricTable

__all__ = ["NAN", "NOT_METRICS", "MetricTable"]
