"""What is measured: proxies with the mock upstream behind them, each pinned to the proxy's core."""
