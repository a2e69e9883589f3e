"""Detectors: sensitive values told by their form, where no tag names their column."""
