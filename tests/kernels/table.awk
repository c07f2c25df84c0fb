#!/usr/bin/awk -f
# Prints what `results.awk` gathered as a table: kernel, shape, backend, and how its tests went; then why some
# were skipped. Fails where a test did, and where there is nothing to print.
$1 == "skip" {
    count = $4; key = $2 ", " $3
    $1 = $2 = $3 = $4 = ""; sub(/^ +/, "")
    skips[key] = skips[key] sprintf("  - %d: %s\n", count, $0)
    if (!(key in seen)) { seen[key]; order[++shapes] = key }
    next
}
{
    key = $1 " | " $2 " | " $3
    if (!(key in passed)) rows[++count_of_rows] = key
    passed[key] += $5; failed[key] += $6; skipped[key] += $7; seconds[key] += $8
    if ($6) { bad = 1; failures = failures sprintf("- %s, %s: %s\n", $1, $2, $4) }
}
END {
    print "| kernel | shape | backend | passed | failed | skipped | seconds |"
    print "|---|---|---|---:|---:|---:|---:|"
    for (row = 1; row <= count_of_rows; row++) {
        key = rows[row]
        printf "| %s | %d | %d | %d | %.0f |\n", key, passed[key], failed[key], skipped[key], seconds[key]
    }
    if (failures) printf "\nFailed:\n\n%s", failures
    print "\nSkipped, and why:\n"
    for (shape = 1; shape <= shapes; shape++) printf "- %s\n%s", order[shape], skips[order[shape]]
    exit bad || !count_of_rows
}
