"""Structures of this library in others' systems: a module for each, which needs its package."""
