"""Who runs this process, asked of the system and not of the environment."""

from __future__ import annotations

import os
import pwd


class SystemWho:
    """The identity of this process."""

    def user(self) -> str:
        """The login name of the real user id, or the number where it has no name."""
        uid = os.getuid()
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid)

    def controller(self) -> str:
        """user@machine, for journals and hosts."""
        return f"{self.user()}@{os.uname().nodename}"
