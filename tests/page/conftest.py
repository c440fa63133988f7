"""What all tests of the pages share."""

from playwright.async_api import expect

# On a busy machine a browser takes more than the five seconds that it has by default.
expect.set_options(timeout=30_000)
