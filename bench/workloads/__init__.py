"""Seeded, named, documented data: real keys at their native size, realistic ones at any size."""
