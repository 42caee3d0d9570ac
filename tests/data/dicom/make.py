"""Make the DICOM fixtures: real Siemens headers without identities, pixels replaced by a ramp.

    python3 make.py FOLDER      # needs numpy, pydicom, nibabel

FOLDER holds `siemens_skyra_mosaic` and `siemens_prisma_mosaic` (see README.md). Attributes are
kept by a list of names, not removed by one: what nobody thought of is left out. Inside the CSA
image header every value that is not on the list is overwritten with zeros, so the layout is the
scanner's own. The CSA series header holds the protocol as text and is dropped.
"""

import gzip
import json
import struct
import sys
from io import BytesIO
from pathlib import Path
from zlib import crc32

import numpy as np
import pydicom
from nibabel.nicom import dicomwrappers
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

KEEP = """ImageType SOPClassUID AcquisitionTime ContentTime Modality Manufacturer
ScanningSequence SequenceVariant MRAcquisitionType SliceThickness RepetitionTime EchoTime
SpacingBetweenSlices EchoTrainLength MagneticFieldStrength FlipAngle PatientPosition
SeriesNumber AcquisitionNumber InstanceNumber ImagePositionPatient ImageOrientationPatient
SamplesPerPixel PhotometricInterpretation Rows Columns PixelSpacing BitsAllocated BitsStored
HighBit PixelRepresentation""".split()
KEEP_CSA = {b"NumberOfImagesInMosaic", b"SliceNormalVector", b"MosaicRefAcqTimes",
            b"ProtocolSliceNumber", b"BandwidthPerPixelPhaseEncode"}
# What a test looks for and must not find. Not what the originals held.
PLANTED = {"PatientName": "Planted^Name", "PatientID": "PLANTED-ID",
           "PatientBirthDate": "19000101", "InstitutionName": "PLANTED-INSTITUTION",
           "ReferringPhysicianName": "Planted^Physician", "PatientComments": "PLANTED-COMMENT",
           "StationName": "PLANTED-STATION", "DeviceSerialNumber": "PLANTED-SERIAL"}


def scrub_csa(header: bytes) -> bytes:
    """Zeros where a value is not on the list; every length stays."""
    out = bytearray(header)
    (n_tag,), at = struct.unpack_from("<I", header, 8), 16
    for _ in range(n_tag):
        name = header[at:at + 64].split(b"\0")[0]
        # What follows a name in its field is memory that the scanner did not clear.
        out[at + len(name):at + 64] = bytes(64 - len(name))
        (n_item,) = struct.unpack_from("<i", header, at + 76)
        at += 84
        for _ in range(n_item):
            (length,) = struct.unpack_from("<i", header, at + 4)
            start, end = at + 16, at + 16 + length
            at = start + (length + 3) // 4 * 4
            keep = header[start:end].split(b"\0")[0] if name in KEEP_CSA else b""
            out[start:at] = keep.ljust(at - start, b"\0")
    out[at:] = bytes(len(out) - at)
    return bytes(out)


def make(source: Path, label: str) -> dict:
    original = pydicom.dcmread(source)
    kept = Dataset()
    for name in KEEP:
        if name in original:
            kept[name] = original[name]
    for name, value in PLANTED.items():
        setattr(kept, name, value)
    root = f"2.25.{int.from_bytes(label.encode()):d}"
    kept.StudyInstanceUID, kept.SeriesInstanceUID = f"{root}.1", f"{root}.1.1"
    kept.SOPInstanceUID = f"{root}.1.1.{original.AcquisitionNumber}"
    if (0x0019, 0x100A) in original:  # the Skyra files came without this block
        mr = kept.private_block(0x0019, "SIEMENS MR HEADER", create=True)
        mr.add_new(0x0A, "US", original[0x0019, 0x100A].value)
    csa = kept.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    csa.add_new(0x10, "OB", scrub_csa(original[0x0029, 0x1010].value))
    ramp = np.arange(original.Rows * original.Columns) % 4096
    kept.PixelData = ramp.astype("<u2").tobytes()
    kept["PixelData"].VR = "OW"

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kept.SOPClassUID
    meta.MediaStorageSOPInstanceUID = kept.SOPInstanceUID
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    buffer = BytesIO()
    out = FileDataset(buffer, kept, file_meta=meta, preamble=bytes(128))
    out.save_as(buffer, enforce_file_format=True)
    here = Path(__file__).parent
    with open(here / f"{label}.dcm.gz", "wb") as file:
        file.write(gzip.compress(buffer.getvalue(), 9, mtime=0))

    return nibabel_says(original)


def nibabel_says(original: Dataset) -> dict:
    """nibabel counts rows first and keeps LPS; here x (along a row) comes first, in RAS."""
    wrapped = dicomwrappers.wrapper_from_data(original)
    voxels = np.asarray(wrapped.get_data()).astype("<u2").transpose(1, 0, 2)
    affine = (np.diag([-1, -1, 1, 1]) @ wrapped.affine)[:, [1, 0, 2, 3]]
    times = wrapped.csa_header["tags"]["MosaicRefAcqTimes"]["items"]
    return {"matrix": list(voxels.shape), "affine": affine.tolist(),
            "repetition_time_s": float(original.RepetitionTime) / 1000,
            "slice_times_s": [float(time) / 1000 for time in times],
            "crc32": crc32(voxels.tobytes(order="F"))}


if __name__ == "__main__":
    data = Path(sys.argv[1])
    expected = {
        "skyra": make(data / "siemens_skyra_mosaic/001_000013_000001.dcm", "skyra"),
        "prisma": make(data / "siemens_prisma_mosaic/001_000013_000001.dcm", "prisma"),
    }
    for file in sorted(data.glob("siemens_*_mosaic/*.dcm")):
        expected[f"{file.parent.name}/{file.name}"] = nibabel_says(pydicom.dcmread(file))
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in expected.items())
    (Path(__file__).parent / "nibabel.json").write_text(f"{{\n{lines}\n}}\n")
