"""Adapters to other packages, each at its documented best: its batch API where it has one."""
