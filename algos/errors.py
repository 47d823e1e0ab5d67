"""The exceptions of Hotpath; everything else is the built-in that fits."""


class HotpathError(Exception):
    """The root of the exceptions that only this library raises."""


class CorruptDataError(HotpathError, ValueError):
    """Serialised bytes that are truncated, altered, or not of the kind asked for."""


class CapacityError(HotpathError):
    """A structure that is full: nothing already acknowledged is lost."""
