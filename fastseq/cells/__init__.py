"""The gate equations of one step, one file a cell. Nothing here knows about memory, time, threads or vectors."""
