#!/bin/sh
# Motion parameters of a folder of DICOM files or of an image, for `make motion`.
# Usage: motion.sh FOLDER_OR_IMAGE OUT.tsv
set -eu
source=$1
out=$2
bin=target/release
if [ -d "$source" ] && ! ls "$source"/*.nii* "$source"/dataset_description.json >/dev/null 2>&1; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    $bin/corticast-adapter dicom "$source" --once --dump "$folder/bold.nii"
    source=$folder/bold.nii
fi
$bin/corticast motion "$source" --out "$out"
