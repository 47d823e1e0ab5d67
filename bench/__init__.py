"""The benchmark of Hotpath: ``python -m bench`` races every variant and writes a report."""
