"""Sends DICOM files with pynetdicom: ADDRESS PORT OUR_TITLE THEIR_TITLE FILE.. Prints the status
of each, or why there is no association."""

import sys

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import MRImageStorage, Verification

address, port, ours, theirs, *files = sys.argv[1:]
entity = AE(ae_title=ours)
entity.add_requested_context(MRImageStorage)
entity.add_requested_context(Verification)
association = entity.associate(address, int(port), ae_title=theirs)
if not association.is_established:
    print("rejected" if association.is_rejected else "aborted")
    sys.exit()
print(f"echo {association.send_c_echo().Status:#06x}")
for file in files:
    print(f"store {association.send_c_store(dcmread(file)).Status:#06x}")
association.release()
