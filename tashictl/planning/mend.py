"""The steps of `doctor --fix`, and their text: what is safe, ours, and can be taken back."""

from __future__ import annotations

from tashictl.model.settings import Settings
from tashictl.model.steps import LoadModule, MendIfup
from tashictl.planning import paths
from tashictl.planning.render import IFUP_MARK
from tashictl.planning.shell import quote

# The guard holds the claim's lock, which who writes such a file for a VM takes too. A file that is
# right and only lost its mode is not written again.
_IFUP = r"""if [ -e {path} ] && ! grep -qF {mark} {path}; then
  echo "the operator's own file"; exit 0
fi
put {path} 755 {content} && chmod 755 {path}"""


def mend_ifup(host: str, settings: Settings, path: str, content: str) -> MendIfup:
    """The step that makes a file qemu-ifup.N what is rendered, and executable."""
    return MendIfup(**paths.at_host(host, settings), path=path, content=content)


def load_module(host: str, settings: Settings, module: str) -> LoadModule:
    """The step that loads a module of the kernel until the next boot."""
    return LoadModule(**paths.at_host(host, settings), module=module)


def text(step: MendIfup | LoadModule) -> str:
    """The text that does one step."""
    match step:
        case MendIfup(path=path, content=content):
            return _IFUP.format(
                path=quote(path), mark=quote(IFUP_MARK), content=quote(content.rstrip())
            )
        case LoadModule(module=module):
            return f"modprobe {quote(module)}"


def summary(step: MendIfup | LoadModule) -> str:
    """What the step would do, in a few words."""
    match step:
        case MendIfup(path=path):
            return f"{path} as rendered and 0755, unless it is the operator's own"
        case LoadModule(module=module):
            return f"modprobe {module}, until the next boot"
