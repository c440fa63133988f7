class Unfit(Exception):
    """No engine answers here, and none can be started; the text says why."""
