"""The demo model: a small OpenAI-compatible server of our own, so that everything works without a key.

It is no language model and says so in its answers: prepared text (``english``, ``chinese``), chosen by
keywords (``answers``), typed out at the pace of the model asked for (``models``), in exactly OpenAI's
shapes (``completion``, ``handlers``). ``serve`` uses it when no upstream is configured.
"""

from streamproxy.demo.server import DemoServer, run, start_demo

__all__ = ["DemoServer", "run", "start_demo"]
