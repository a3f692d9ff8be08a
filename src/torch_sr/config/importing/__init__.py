"""Import option files of BasicSR, Real-ESRGAN, neosr and traiNNer-redux.

:func:`import_options` reads a file and says, line by line, what became of every value. Topics have
a module each; they share the keys of BasicSR, to which :mod:`~torch_sr.config.importing.programs`
renames those of the others.
"""

from torch_sr.config.importing.conversion import ImportedOptions, import_options
from torch_sr.config.importing.draft import STATUSES, Entry
from torch_sr.config.importing.programs import PROGRAMS

__all__ = ["PROGRAMS", "STATUSES", "Entry", "ImportedOptions", "import_options"]
