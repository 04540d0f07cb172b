"""pynetdicom with a reactor that leaves responses to whoever waits for them.

In pynetdicom 3.0.4 the reactor of an association can run one more round after `send_c_store` and its like have told it
to pause: it says that it pauses before it does, and on a busy machine it wakes late from the pause before. In that round it
takes the response from the queue, logs "Received unexpected C-STORE service message", and the sender waits until its
timeout for what has come long ago; 17 of 1,018 responses, three busy processes beside. Requests are the reactor's business.
"""

from __future__ import annotations

from typing import Any

import pynetdicom.association
from pynetdicom.dimse import DIMSEServiceProvider


class PatientProvider(DIMSEServiceProvider):
    """Gives the reactor, which alone asks without blocking, no responses."""

    def get_msg(self, block: bool = False) -> Any:
        """The next message, `(None, None)` without one."""
        if not block:
            _, message = self.peek_msg()
            if getattr(message, "MessageIDBeingRespondedTo", None) is not None:
                return None, None
        return super().get_msg(block)


def install() -> None:
    """For every association that pynetdicom makes from now on, on either side."""
    pynetdicom.association.DIMSEServiceProvider = PatientProvider  # type: ignore[attr-defined,misc]  # its own
