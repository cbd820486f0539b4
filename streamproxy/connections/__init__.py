"""Connections of clients: bytes in from a socket, requests out to Tornado's ``Application``, answers back.

llhttp (``httptools``) reads the heads, uvloop's transports write the answers. ``serving`` does the same with Tornado's
own HTTP server, for where parts are missing and for ``server.shortcuts = false``.
"""
