"""Segmentation: a class for each pixel, or how much of it belongs to the foreground."""

from __future__ import annotations

from quantkit.tasks.segmentation.task import Segmentation

__all__ = ["Segmentation"]
