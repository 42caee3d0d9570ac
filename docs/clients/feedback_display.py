"""Shows the feedback of a running daemon as a bar, or the likeliest concept without feedback.

    pip install pyzmq msgpack            # psychopy for a window; without it the bar is text
    python feedback_display.py [tcp://127.0.0.1:5561] [--once N] [--text]

A score is 0 to 1. A blanked or missing score is an empty bar, never the last one. `--once N` ends
after N messages.
"""

import argparse

import msgpack
import zmq

WIDTH = 40


class TextBar:
    """A line for each score, for consoles and tests."""

    def show(self, score, label):
        filled = 0 if score is None else round(WIDTH * min(max(score, 0.0), 1.0))
        value = " --- " if score is None else f"{score:5.2f}"
        print(f"[{'#' * filled}{'.' * (WIDTH - filled)}] {value}  {label}", flush=True)


class PsychoPyBar:
    """A thermometer in a PsychoPy window."""

    def __init__(self, visual):
        self.window = visual.Window(fullscr=False, color="black", units="norm")
        self.frame = visual.Rect(self.window, width=0.2, height=1.6, lineColor="white")
        self.bar = visual.Rect(self.window, width=0.2, fillColor="orange", lineColor=None)
        self.window.flip()

    def show(self, score, label):
        del label  # the participant sees the bar only
        height = 1.6 * (0.0 if score is None else min(max(score, 0.0), 1.0))
        self.bar.height, self.bar.pos = height, (0.0, height / 2 - 0.8)
        self.bar.draw()
        self.frame.draw()
        self.window.flip()


def display(is_text):
    """A PsychoPy window if PsychoPy is installed, else lines of text."""
    if is_text:
        return TextBar()
    try:
        from psychopy import visual
    except ImportError:
        return TextBar()
    return PsychoPyBar(visual)


def shown(topic, header):
    """Score and label of a message; the score is None when nothing may be shown."""
    where = f"{header['run']} volume {header['index']}"
    if topic == b"feedback":
        score = None if header.get("blanked") else header.get("score")
        return score, f"{where} {header.get('condition', '')}".rstrip()
    if header.get("blanked") or not header["concepts"]:
        return None, where
    name, probability = max(header["concepts"].items(), key=lambda item: item[1])
    return probability, f"{where} {name}"


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("endpoint", nargs="?", default="tcp://127.0.0.1:5561")
    parser.add_argument("--once", type=int, metavar="N", help="end after N messages")
    parser.add_argument("--text", action="store_true", help="text, also with PsychoPy installed")
    args = parser.parse_args()
    screen = display(args.text)
    socket = zmq.Context().socket(zmq.SUB)
    socket.connect(args.endpoint)
    socket.subscribe("feedback")
    socket.subscribe("concepts")
    has_feedback = False
    n_shown = 0
    while args.once is None or n_shown < args.once:
        topic, packed, *_ = socket.recv_multipart()
        if topic not in (b"feedback", b"concepts"):  # a subscription is a prefix
            continue
        has_feedback |= topic == b"feedback"
        if has_feedback and topic == b"concepts":
            continue
        score, label = shown(topic, msgpack.unpackb(packed))
        screen.show(score, label)
        n_shown += 1


if __name__ == "__main__":
    main()
