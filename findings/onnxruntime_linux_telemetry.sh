#!/usr/bin/env bash
# ONNX Runtime 1.32.0 (wheel for Linux, CPU) reports to its maker by default, and the function that
# disables this comes too late.
#
# Guess: telemetry is a thing of the Windows builds; on Linux there is none, and
# `disable_telemetry_events()` is the way to be sure.
# Seen: opening a model creates a number of this machine and an event store below the home folder,
# with at least one event in it, also when `disable_telemetry_events()` is the first call after the
# import. Only ORT_DISABLE_TELEMETRY=1 in the environment before the import prevents both.
#
# Output seen:
#   default: deviceid onnxruntime.db, 1 event or more
#   function: deviceid onnxruntime.db, 1 event or more
#   environment: nothing
#
# What it means for us: `corticast` sets the variable as its first act, and the training tool before
# its import; `tests/tests/no_telemetry.rs` checks both.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q onnxruntime==1.32.0 onnx==1.22.0 numpy==2.4.6

cat > "$folder/make.py" <<'PY'
import sys
from onnx import TensorProto, helper, save

value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", value[:1], value[1:])
opset = helper.make_opsetid("", 17)
save(helper.make_model(graph, opset_imports=[opset], ir_version=8), sys.argv[1])
PY
cat > "$folder/open.py" <<'PY'
import sys
import time

import onnxruntime

if sys.argv[2] == "function":
    onnxruntime.disable_telemetry_events()
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
time.sleep(1)
PY
cat > "$folder/events.py" <<'PY'
import sqlite3
import sys

store = sqlite3.connect(sys.argv[1])
print(store.execute("select count(*) from events").fetchone()[0])
PY
"$folder/venv/bin/python" "$folder/make.py" "$folder/model.onnx"

look() {
    local name=$1 home=$folder/$1 found events
    mkdir "$home"
    env -u ORT_DISABLE_TELEMETRY -u XDG_CACHE_HOME HOME="$home" "${@:2}" \
        "$folder/venv/bin/python" "$folder/open.py" "$folder/model.onnx" "$name"
    found=$(find "$home" -type f -printf '%f\n' | grep -Ev -- '-(wal|shm)$' | sort | tr '\n' ' ' || true)
    if [ -z "$found" ]; then
        echo "$name: nothing"
        return
    fi
    events=$("$folder/venv/bin/python" "$folder/events.py" "$(find "$home" -name onnxruntime.db)")
    [ "$events" -ge 1 ] || { echo "$name: $found but no event"; return; }
    echo "$name: ${found% }, 1 event or more"
}

expected='default: deviceid onnxruntime.db, 1 event or more
function: deviceid onnxruntime.db, 1 event or more
environment: nothing'
seen=$(look default; look function; look environment ORT_DISABLE_TELEMETRY=1)
echo "$seen"
[ "$seen" = "$expected" ]
