"""Vectors, panels and tiles. Nothing here knows about gates; only this folder sees LLVM."""
