#!/usr/bin/env bash
# Downloads GLUE:  scripts/fetch_glue.sh DIR [TASK...]
# All ten tasks, or those named (CoLA SST-2 MRPC STS-B QQP MNLI QNLI RTE WNLI AX). Run again to go on
# after an interruption. GLUE_URL and MRPC_URL replace the servers.
set -euo pipefail

glue=${GLUE_URL:-https://dl.fbaipublicfiles.com/glue/data}
mrpc=${MRPC_URL:-https://dl.fbaipublicfiles.com/senteval/senteval_data}
die() { echo "fetch_glue.sh: $*" >&2; exit 2; }

# get URL FILE: downloads beside FILE, resuming what is there, and renames.
get() {
    [ -s "$2" ] && return
    echo "fetching $1"
    code=0
    curl -fL --retry 3 --no-progress-meter -C - -o "$2.part" "$1" || code=$?
    if [ $code -ne 0 ] && [ $code -ne 6 ] && [ $code -ne 7 ] && [ -s "$2.part" ]; then
        # The server cannot resume, or the part is already whole: from the beginning.
        code=0
        curl -fL --retry 3 --no-progress-meter -o "$2.part" "$1" || code=$?
    fi
    [ $code -eq 0 ] || die "$1: the download failed (curl's code $code); check the network and run this again"
    mv "$2.part" "$2"
}

# unpack ARCHIVE-NAME TASK: fetches and unpacks an archive with the folder TASK in it.
unpack() {
    [ -s "$dir/$2/.complete" ] && return
    get "$glue/$1.zip" "$dir/$1.zip"
    python3 -m zipfile -t "$dir/$1.zip" > /dev/null 2>&1 ||
        { rm -f "$dir/$1.zip"; die "$glue/$1.zip: the archive is damaged; run this again"; }
    rm -rf "$dir/.unpack"
    mkdir "$dir/.unpack"
    python3 -m zipfile -e "$dir/$1.zip" "$dir/.unpack" || die "$dir: cannot unpack $1.zip there"
    [ -d "$dir/.unpack/$2" ] || mv "$dir/.unpack"/*/ "$dir/.unpack/$2"
    mkdir -p "$dir/$2"
    cp -R "$dir/.unpack/$2/." "$dir/$2/"
    rm -rf "$dir/.unpack" "$dir/$1.zip"
    echo yes > "$dir/$2/.complete"
}

# rows TASK/FILE N: a file has N lines, header included (a last line may lack its newline).
rows() {
    found=$(awk 'END { print NR }' "$dir/$1" 2> /dev/null || echo 0)
    [ "$found" = "$2" ] || die "$dir/$1: $found lines instead of $2; delete $dir/${1%%/*} and run this again"
}

[ $# -ge 1 ] || die "say where to: scripts/fetch_glue.sh DIR [TASK...]"
command -v curl > /dev/null || die "curl is missing; install it (apt install curl)"
command -v python3 > /dev/null || die "python3 is missing; install it (apt install python3)"
dir=$1
shift
[ $# -gt 0 ] || set -- CoLA SST-2 MRPC STS-B QQP MNLI QNLI RTE WNLI AX
mkdir -p "$dir" || die "$dir: cannot make this folder"

for task in "$@"; do
    case $task in
        CoLA)  unpack CoLA CoLA; rows CoLA/train.tsv 8551; rows CoLA/dev.tsv 1043 ;;
        SST-2) unpack SST-2 SST-2; rows SST-2/train.tsv 67350; rows SST-2/dev.tsv 873 ;;
        STS-B) unpack STS-B STS-B; rows STS-B/train.tsv 5750; rows STS-B/dev.tsv 1501 ;;
        QQP)   unpack QQP-clean QQP ;;   # rows: covalign data check counts them
        MNLI)  unpack MNLI MNLI; rows MNLI/train.tsv 392703; rows MNLI/dev_matched.tsv 9816 ;;
        QNLI)  unpack QNLIv2 QNLI; rows QNLI/train.tsv 104744; rows QNLI/dev.tsv 5464 ;;
        RTE)   unpack RTE RTE; rows RTE/train.tsv 2491; rows RTE/dev.tsv 278 ;;
        WNLI)  unpack WNLI WNLI; rows WNLI/train.tsv 636; rows WNLI/dev.tsv 72 ;;
        AX)    mkdir -p "$dir/AX"; get "$glue/AX.tsv" "$dir/AX/diagnostic.tsv"; rows AX/diagnostic.tsv 1105 ;;
        MRPC)
            mkdir -p "$dir/MRPC"
            get "$mrpc/msr_paraphrase_train.txt" "$dir/MRPC/msr_paraphrase_train.txt"
            get "$mrpc/msr_paraphrase_test.txt" "$dir/MRPC/msr_paraphrase_test.txt"
            get "$glue/mrpc_dev_ids.tsv" "$dir/MRPC/dev_ids.tsv"
            rows MRPC/msr_paraphrase_train.txt 4077
            rows MRPC/dev_ids.tsv 408 ;;
        *) die "$task: no such task; there are CoLA SST-2 MRPC STS-B QQP MNLI QNLI RTE WNLI AX" ;;
    esac
done
echo "done; look at it with: covalign data check $dir"
