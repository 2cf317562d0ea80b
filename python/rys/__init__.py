"""Run a GGUF model along any path through its layers, in process, without copying a weight."""

from rys._extension import load_core

load_core()

# what follows needs the extension module
from rys import compare, export, plot, probes  # noqa: E402
from rys.build_info import build_info  # noqa: E402
from rys.engine.model import Model  # noqa: E402
from rys.errors import RysError  # noqa: E402
from rys.layer_path import LayerPath  # noqa: E402
from rys.reference import reference_model  # noqa: E402
from rys.requests import Generate, LogLikelihood, NextToken  # noqa: E402
from rys.sweep import space  # noqa: E402
from rys.sweep.sweep import Sweep  # noqa: E402

__all__ = [
    "Generate",
    "LayerPath",
    "LogLikelihood",
    "Model",
    "NextToken",
    "RysError",
    "Sweep",
    "build_info",
    "compare",
    "export",
    "plot",
    "probes",
    "reference_model",
    "space",
]
