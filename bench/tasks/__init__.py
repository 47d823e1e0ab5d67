"""What is raced, as data: one module per family with ``TASKS`` and ``contestants(task, seed)``."""
