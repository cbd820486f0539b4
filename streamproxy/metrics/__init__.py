"""What is counted, for Prometheus; any worker answers for all of them.

``Metrics`` is what the rest of streamproxy talks to. What is told to it is only added up in memory, because that
costs a tenth of what the library needs where values are shared between processes; ``keep`` passes the sums on twice
a second, and ``exposition`` at once. So a worker that is killed loses half a second of counts.

Names are bounded: endpoints, reasons and error codes are ours, models and upstreams those of the catalogue
(``labels``). Keys show as their last four characters.
"""

from streamproxy.metrics.metrics import Metrics

__all__ = ["Metrics"]
