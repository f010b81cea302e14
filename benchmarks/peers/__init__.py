"""Side-by-side measurements: each script runs fastseq and its peers interleaved, in one process."""
