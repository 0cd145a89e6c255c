"""What a SIP trunk is and what follows from it: pure functions that touch nothing outside memory.

`schema` declares; `answer`, `records` (with `names` and `values`) and `snapshot` turn the API's answer into tables;
`changes` compares it with what is stored; `counts` and `reports` derive frames from frames.
Nothing here knows the network, a file, a database or the clock.
"""
