"""How many of a turn's tokens belong to which channel. Knows their places, and nothing of what they say."""

from __future__ import annotations


class Tally:
    """`channels`: tokens per channel, message by message. `reasoning`: those of messages that the user does not see."""

    def __init__(self) -> None:
        self.channels: dict[str, int] = {}
        self.reasoning = 0
        self._first = 0

    def count(self, channel: str, last: int) -> int:
        """Count the tokens since the last message for this channel, up to the index `last`."""
        tokens = max(0, last + 1 - self._first)
        self._first += tokens
        if tokens:
            self.channels[channel] = self.channels.get(channel, 0) + tokens
        return tokens
