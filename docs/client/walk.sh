#!/bin/sh
# A walk through the API with curl: hand an image in, wait for it, read the answer.
#
#   BCWEB_URL=http://127.0.0.1:8000 BCWEB_TOKEN=bcw_… sh docs/client/walk.sh phantom.jpg
#
# Needs curl and python3 (to read JSON). Files it makes are in the current folder.
set -eu

file=${1:?which image}
api=${BCWEB_URL:-http://127.0.0.1:8000}/api/v1
: "${BCWEB_TOKEN:?set BCWEB_TOKEN}"

# The token goes in by a file that only we can read, so that it is in no list of processes.
secret=$(mktemp)
trap 'rm -f "$secret"' EXIT
printf 'header = "Authorization: Bearer %s"\n' "$BCWEB_TOKEN" >"$secret"
ask() { curl --config "$secret" --silent --show-error --fail-with-body "$@"; }
# pick KEY… : what is under these keys (or places) in the JSON on standard input.
pick() {
  python3 -c '
import json, sys
told = json.load(sys.stdin)
for key in sys.argv[1:]:
    told = told[int(key)] if key.isdigit() else told[key]
print(told if isinstance(told, str) else json.dumps(told))' "$@"
}

echo "1. Hand the image in. The same key again would be the same submission."
ask -H "Idempotency-Key: walk-$(date +%s)-$$" \
  -F patient_id=PHANTOM-1 -F laterality=L -F clock_position=2 -F "file=@$file" \
  "$api/submissions/" >submission.json
submission=$(pick id <submission.json)
job=$(pick jobs 0 id <submission.json)
case=$(pick case id <submission.json)
echo "   submission $submission"

echo "2. Wait. Events come until the job has ended; ten minutes at most."
ask --no-buffer --max-time 600 "$api/submissions/$submission/events/" | grep '^data:' || true

echo "3. Where events cannot be had, ask again and again, as Retry-After says."
until ask --dump-header headers.txt "$api/jobs/$job/" >job.json &&
  ! grep -qi '^retry-after:' headers.txt; do
  sleep "$(sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9]*\).*/\1/p' headers.txt)"
done
echo "   $(pick state <job.json)"

echo "4. The answer."
echo "   outcome $(pick result outcome <job.json), label $(pick result label <job.json)"
echo "   scores $(pick result probabilities <job.json)"
ask --output heatmap.png "$api/results/$(pick result id <job.json)/heatmap/"
echo "   heatmap.png"

echo "5. The case, and the patient by a search: identity stands in no address."
ask "$api/cases/$case/" >case.json
echo "   $(pick summary state <case.json)"
ask -H "Content-Type: application/json" -d '{"patient_id": "PHANTOM-1"}' \
  "$api/patients/search/" >patients.json
echo "   $(pick results 0 id <patients.json)"

echo "6. Lists: what failed since yesterday, oldest first."
since=$(python3 -c 'import datetime as d; print((d.datetime.now(d.timezone.utc) - d.timedelta(1)).strftime("%Y-%m-%dT%H:%M:%SZ"))')
ask "$api/jobs/?state=FAILED&since=$since&ordering=created_at" >failed.json
echo "   $(pick results <failed.json | head -c 200)"

echo "7. Errors say what is wrong in a code: here a file that is no image."
echo "no image" >letter.txt
curl --config "$secret" --silent -F patient_id=PHANTOM-1 -F "file=@letter.txt" \
  "$api/submissions/" | pick code
