"""The stages: calibrate, export, compare, report, gate. Each reads from and writes to a run directory."""
