#!/bin/bash
# Every figure of docs/speed.md, from one run on one machine; about 30 minutes on two cores:
#
#     tests/benchmarks/all.sh LFW FOLDER > figures.txt
#
# LFW is a folder of folders, one for each person. FOLDER gets the environments of the other programs, which
# stay there, and 9 GB of indexes, which do not.
set -eu
lfw=$1
folder=$2
here=$(dirname "$0")
python=${PYTHON:-python}
measure() { "$python" "$here/$1.py" "${@:2}"; }

measure precision_speed
measure index_speed "$lfw" --limit 400
measure index_speed "$lfw" --limit 60 --megapixels 12
measure index_speed "$lfw" --limit 2000 --model sface
measure index_speed "$lfw" --limit 60 --megapixels 12 --model sface
measure index_memory "$lfw" --limit 1000
measure query_speed "$lfw" --faces 10000
measure large_query "$here/../../samples/queries/obama.jpg" --faces 1000000 --scratch "$folder"
measure unchanged_library --files 100000
measure serve_speed
measure peers "$lfw" --limit 129 --megapixels 0.1 2 --environments "$folder"
measure large_index "$lfw" --faces 1000000 --scratch "$folder"
