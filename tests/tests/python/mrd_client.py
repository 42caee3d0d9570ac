"""Sends volumes of two slices to an MRD receiver, with the `ismrmrd` package, and reads what
comes back: ADDRESS PORT N_VOLUMES. Prints the number of images and whether they are the same."""

import socket
import sys

import ismrmrd
import numpy as np
from ismrmrd.serialization import ConfigFile, ProtocolDeserializer, ProtocolSerializer

XML = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<experimentalConditions><H1resonanceFrequency_Hz>123000000</H1resonanceFrequency_Hz></experimentalConditions>
<encoding><encodedSpace><matrixSize><x>4</x><y>3</y><z>1</z></matrixSize>
<fieldOfView_mm><x>12</x><y>9</y><z>3</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>4</x><y>3</y><z>1</z></matrixSize>
<fieldOfView_mm><x>12</x><y>9</y><z>3</z></fieldOfView_mm></reconSpace>
<encodingLimits><slice><minimum>0</minimum><maximum>1</maximum><center>0</center></slice></encodingLimits>
<trajectory>cartesian</trajectory></encoding>
<sequenceParameters><TR>1500</TR></sequenceParameters></ismrmrdHeader>"""

address, port, n_volumes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sent = []
with socket.create_connection((address, port), timeout=60) as connection:
    stream = connection.makefile("rwb")
    serializer = ProtocolSerializer(stream)
    serializer.serialize(ConfigFile("default.xml"))
    serializer.serialize(ismrmrd.xsd.CreateFromDocument(XML))
    for repetition in range(n_volumes):
        for number in (1, 0):
            pixels = np.arange(12, dtype=np.uint16).reshape(3, 4) + 100 * repetition + 50 * number
            image = ismrmrd.Image.from_array(pixels, transpose=False)
            image.field_of_view = (12, 9, 3)
            image.position = (0, 0, 3.0 * number)
            image.read_dir, image.phase_dir, image.slice_dir = (1, 0, 0), (0, 1, 0), (0, 0, 1)
            image.slice, image.repetition = number, repetition
            image.image_type = ismrmrd.IMTYPE_MAGNITUDE
            image.image_index = 1 + 2 * repetition + number
            image.meta = ismrmrd.Meta({"Name": "test"})
            serializer.serialize(image)
            sent.append(image)
    serializer.close()
    stream.flush()
    back = list(ProtocolDeserializer(stream).deserialize())
print(len(back), all(a == b for a, b in zip(back, sent, strict=True)))
