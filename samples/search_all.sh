#!/bin/sh
# Search the index for every photo of a folder and print one line for each:
#
#     reference <tab> best match <tab> distance
#
# Usage:  search_all.sh [FOLDER] [OPTION of `facesearch query`]...
#
#     search_all.sh                            the photos in queries/, beside this script
#     search_all.sh ~/faces                    the photos of another folder
#     search_all.sh ~/faces --metric euclidean
#
# The index is the one that $FACESEARCH_INDEX names, or else the default index in your data folder.
# Tab, newline and backslash in a name are written as \t, \n and \\, as facesearch itself does.
# A photo without a face gets no line; facesearch reports it on stderr.
#
# Exit status, as of `facesearch query`: 0 something was found, 1 nothing was found,
# 2 something failed (the other photos are searched nevertheless).

set -u

case ${1-} in
    '' | -*) folder=$(dirname -- "$0")/queries ;;
    *) folder=$1 && shift ;;
esac

# Print the path of every photo of the folder, each ended by a NUL, the only byte that no name can contain.
photos() {
    for photo in "$folder"/*; do
        case $photo in
            *.[Jj][Pp][Gg] | *.[Jj][Pp][Ee][Gg] | *.[Pp][Nn][Gg] | *.[Ww][Ee][Bb][Pp] | \
                *.[Tt][Ii][Ff] | *.[Tt][Ii][Ff][Ff] | *.[Bb][Mm][Pp] | *.[Gg][Ii][Ff] | \
                *.[Pp][GgPp][Mm] | *.[Hh][Ee][Ii][CcFf] | *.[Aa][Vv][Ii][Ff])
                # A pattern that matches nothing stays unexpanded, and names no file.
                [ -f "$photo" ] && printf '%s\0' "$photo"
                ;;
        esac
    done
}

if [ ! -d "$folder" ]; then
    printf '%s: %s is not a folder.\n' "$0" "$folder" >&2
    exit 2
fi
if [ "$(photos | wc -c)" -eq 0 ]; then
    printf '%s: there is no photo in %s.\n' "$0" "$folder" >&2
    exit 2
fi

# The matches go to a file first: in a pipe, the exit status of facesearch would be lost.
matches=$(mktemp) || exit 2
trap 'rm -f -- "$matches"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# One call for all photos: the network and the index are loaded once.
photos | facesearch query --files0-from - --top 1 --format tsv "$@" >"$matches"
status=$?

# Columns of facesearch's TSV: query, rank, distance, probability, path, x, y, w, h.
LC_ALL=C awk -F '\t' '$2 == "1" { print $1 "\t" $5 "\t" $3 }' "$matches" || status=2
exit "$status"
