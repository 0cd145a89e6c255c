"""What a SIP trunk is and what follows from it: pure functions that touch nothing outside memory.

`schema` declares, `snapshot` turns the API's answer into tables, everything else derives frames from frames.
Nothing here knows the network, a file, a database or the clock.
"""
