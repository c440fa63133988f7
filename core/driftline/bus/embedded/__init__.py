"""The bus in one folder, in the process itself: durable without a broker.

`bus` is what `driftline.bus.port.Bus` asks for. Below it a `topic` as its readers see it, `writing` that joins commits
into one sync, the `journal` of `segment` files in a `folder` that is ours alone, `retention` that says what goes, the
`contents` that say where what lies, `recent` messages in memory, and the `frames` that are the bytes.
"""

from driftline.bus.embedded.bus import EmbeddedBus
from driftline.bus.embedded.folder import EmbeddedSettings

__all__ = ["EmbeddedBus", "EmbeddedSettings"]
