"""The benchmark: what streamproxy costs beside its peers, measured in one run on one machine.

``make bench`` writes docs/benchmarks.md and docs/benchmarks.json; ``make bench-quick`` measures nginx and streamproxy
and prints the table; ``make profile`` prints where the time goes. Everything runs on the loopback.

======================  ==============================================================================
``programs/``           the load generator and the mock upstream, in C, so that they are never the limit
``targets/``            what is measured, each started on a core of its own: nginx, streamproxy, peers
``installs``            peers live in a cache folder outside the tree
``workloads``           what is asked of them
``measuring``           one run of the load generator, as a value
``moments``             how long single things take: leaving, cancelling, resuming
``series``              the whole run, in its order, with its progress
``goals``               what must be and what is aimed at
``report``              the results as Markdown
``profiling``           ``make profile``
``counting``            ``make calls``; ``inside/`` is what a server loads for it
======================  ==============================================================================
"""
