"""What goes over the wire, as values: no I/O, no clock, no state but a decoder's."""
