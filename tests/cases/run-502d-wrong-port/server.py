"""A port where no process listens: it is bound, and never listened at."""
import json
import signal
import socket

kept = socket.socket()
kept.bind(("127.0.0.1", 0))
print(json.dumps({"ENDPOINT": f"http://127.0.0.1:{kept.getsockname()[1]}"}), flush=True)
signal.pause()
