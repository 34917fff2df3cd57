"""Read a log folder with TensorBoard itself and print what its pages show, as JSON.

Usage: tensorboard_reads.py LOGDIR TAG; starts TensorBoard on a free port of this machine. TAG is a
scalar that the server must show before it is asked for the rest.
"""

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request


def main(logdir, awaited):
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logdir, "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    printed = []
    try:
        for line in server.stderr:
            printed.append(line)
            if "http://" in line:
                break
        else:
            sys.exit("TensorBoard did not start: " + "".join(printed))
        address = "http://" + line.split("http://")[1].split("/")[0]

        def read(path, body=None):
            data = json.dumps(body).encode() if body is not None else None
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{address}/data/plugin/{path}", data, headers)
            with urllib.request.urlopen(request) as answer:
                return answer.read()

        def ask(path, body=None, **query):
            return json.loads(read(f"{path}?{urllib.parse.urlencode(query)}", body))

        def picture(run, tag):
            shown = ask("images/images", run=run, tag=tag, sample=0)[-1]
            png = read("images/individualImage?" + shown.pop("query"))
            return shown | {"png": list(png)}

        for _ in range(100):
            tags = ask("scalars/tags")
            if any(awaited in of_run for of_run in tags.values()):
                break
            time.sleep(0.2)
        (run,) = tags
        histograms, texts = ask("histograms/tags")[run], ask("text/tags")[run]
        images = ask("images/tags")[run]
        every = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
        query = {"experimentName": "", "allowedStatuses": every, "colParams": []}
        query |= {"startIndex": 0, "sliceSize": 100}
        scalars = {tag: ask("scalars/scalars", run=run, tag=tag) for tag in tags[run]}
        seen = {
            "scalars": scalars,
            "histograms": {t: ask("histograms/histograms", run=run, tag=t) for t in histograms},
            "text": {tag: ask("text/text", run=run, tag=tag) for tag in texts},
            "images": {tag: picture(run, tag) for tag in images},
            "layout": ask("custom_scalars/layout"),
            "experiment": ask("hparams/experiment", {"experimentName": ""}),
            "sessions": ask("hparams/session_groups", query),
        }
    finally:
        server.terminate()
        printed += server.stderr.read().splitlines(keepends=True)
        server.wait()
    seen["warnings"] = [line for line in printed if "WARN" in line.upper() or "ERROR" in line]
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
