"""The efficiency protocol: what strategies save on the machine at hand, measured.

Fresh processes are launched one after the other; each times the stock model and every strategy, interleaved. The launch
is the unit of replication: timings within one resemble each other and support no interval.
"""
