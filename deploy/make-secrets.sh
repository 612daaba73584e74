#!/bin/sh
# Makes the secrets that are missing, each a line of 64 hexadecimal digits in a file of its own:
#
#   sh deploy/make-secrets.sh [FOLDER]        (default: ./secrets)
#
# Nothing that is there is changed. The folder is for its owner alone; the files in it can be read
# by everybody, because containers run as users of their own and Docker mounts a file as it is.
set -eu
umask 077

folder=${1:-./secrets}
mkdir -p "$folder"
chmod 0700 "$folder"
for name in secret_key patient_key postgres_password owner_password app_password valkey_password \
    webhook_key metrics_token; do
    file=$folder/$name
    if [ -e "$file" ]; then
        echo "kept $file"
        continue
    fi
    draft=$(mktemp "$folder/.draft.XXXXXX")
    od -An -N32 -v -tx1 /dev/urandom | tr -d ' \n' >"$draft"
    test "$(wc -c <"$draft")" -eq 64
    chmod 0444 "$draft"
    # A link appears whole or not at all, and never over what another run has made meanwhile.
    ln "$draft" "$file"
    rm -f "$draft"
    echo "made $file"
done
echo "Keep a copy of $folder/patient_key in another place, for ever: see docs/curation.md."
