"""Tests of fastseq; the folders mirror the package."""
