"""An LSL outlet of markers. Each line of the pipe becomes a marker: NAME PIPE."""

import sys
from pathlib import Path

import pylsl

info = pylsl.StreamInfo(sys.argv[1], "Markers", 1, pylsl.IRREGULAR_RATE, "string", sys.argv[1])
outlet = pylsl.StreamOutlet(info)
with Path(sys.argv[2]).open() as pipe:
    while not outlet.wait_for_consumers(1.0):
        pass
    print("connected", flush=True)
    for line in pipe:
        outlet.push_sample([line.strip()])
